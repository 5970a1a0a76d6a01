"""Record which images a network was trained on: 8 bytes of each digest, in a file of the run's folder. No torch.

The file has one line that names the run, then the numbers, rising, as unsigned little-endian integers of 64 bits.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgrec import disk
from imgrec.errors import RunError, shown

NAME = "trained_images.bin"
_MAGIC = b"imgrec trained images 1 "
_MOST = 2**33  # bytes: a billion images

Briefs = NDArray[np.uint64]


def write(folder: Path, run_id: str, briefs: Briefs) -> None:
    """Write the images that the run in that folder trains on.

    A 0 stands for an image that cannot be read, and is left out.

    Raises:
        OSError: The file cannot be written.
    """
    known = np.unique(briefs)
    with disk.Partial(folder / NAME) as new:
        new.file.write(_MAGIC + run_id.encode() + b"\n" + known[known > 0].astype("<u8").tobytes())
        new.place()


def read(folder: Path, run_id: str) -> Briefs | None:
    """Return the images that the run in that folder was trained on, rising; None if it recorded none, as older runs.

    Raises:
        RunError: The file does not belong to this run.
    """
    path = folder / NAME
    try:
        text = disk.content(path, most=_MOST)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(f"{shown(path)} must be read, got: {error.strerror}; mend it, or remove it") from error
    line, _, numbers = text.partition(b"\n")
    if line != _MAGIC + run_id.encode() or len(numbers) % 8:
        raise RunError(
            f"{shown(path)} must name the images that run {run_id[:8]} was trained on, and is no such file; restore it,"
            " or remove it, and nothing is known of them"
        )
    return np.frombuffer(numbers, "<u8")
