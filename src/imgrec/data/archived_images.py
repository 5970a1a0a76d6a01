"""Read the images in a zip or tar.gz that a data set is published as, without unpacking it to disk."""

# N images, S the side in pixels

import io
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgrec.data import decode
from imgrec.data.published import Published
from imgrec.errors import RunError


def contents(published: Published, folder: Path, name: str, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Return the content of the wanted regular files of an archive, by their names, sorted.

    Args:
        published: The data set.
        folder: Its folder.
        name: The archive's name, which ends in zip or tgz.
        wanted: Returns True for the names of files to read.

    Raises:
        RunError: The archive is not the official one, or cannot be read.
    """
    content = io.BytesIO(published.read(folder, name))
    try:
        if name.endswith("zip"):
            with zipfile.ZipFile(content) as file:
                return {path: file.read(path) for path in sorted(file.namelist()) if wanted(path)}
        found = {}
        with tarfile.open(fileobj=content, mode="r:gz") as tar:
            for member in tar:
                if member.isreg() and wanted(member.name) and (stream := tar.extractfile(member)) is not None:
                    found[member.name] = stream.read()
        return dict(sorted(found.items()))
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise RunError(f"{folder / name}: must be a whole archive, got: {error}; restore the official file") from error


def decoded(path: Path, files: Sequence[tuple[str, bytes]], size: int) -> NDArray[np.uint8]:
    """Decode images to uint8 (N,3,S,S), as `decode.decode` does.

    Args:
        path: The archive, for the error message.
        files: The name and the bytes of each image.
        size: S.

    Raises:
        RunError: An image cannot be decoded.
    """
    named = ((f"{path}: {name} in it", content) for name, content in files)
    return decode.squares(named, len(files), size, way_out="restore the official file")
