"""Load MNIST and the data sets in its format into memory."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imgrec.data import idx_files as files
from imgrec.data.held_out import held_out, memory_images
from imgrec.data.published import Published
from imgrec.data.source import MemoryImages, Source

if TYPE_CHECKING:
    from imgrec.components.idx import IdxData

# seeds of the validation splits; constants, so that every run and every paper has the same ones
SPLIT_SEEDS = {"mnist": 16, "fashion_mnist": 17, "kmnist": 18}


def load(cfg: "IdxData", classes: Sequence[str]) -> Source:
    """Load a data set with its stratified validation split, as images of one channel.

    Only `Source.open_test` opens the test files.

    Args:
        cfg: The configuration.
        classes: The names of the classes.

    Raises:
        RunError: A file is absent and cannot be downloaded, or is not the official one.
    """
    published = cfg.published()
    folder = published.ensure(Path(cfg.root).expanduser(), download=cfg.download)
    images_nhw, labels_n = files.read(published, folder, "train")
    return held_out(
        cfg,
        _framed(images_nhw, cfg.padding),
        labels_n,
        classes=classes,
        seed=SPLIT_SEEDS[cfg.name],
        open_test=partial(_open_test, published, folder, cfg.padding),
    )


def _open_test(published: Published, folder: Path, padding: int) -> MemoryImages:
    images_nhw, labels_n = files.read(published, folder, "test")
    return memory_images(_framed(images_nhw, padding), labels_n)


def _framed(images_nhw: NDArray[np.uint8], padding: int) -> NDArray[np.uint8]:
    """Return the images with black pixels on each side: (N,1,H,W)."""
    return np.pad(images_nhw, ((0, 0), (padding, padding), (padding, padding)))[:, None]
