"""Load EuroSAT (Helber et al. 2019, arXiv 1709.00029) into memory."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from imgrec.data import archived_images
from imgrec.data import eurosat_files as files
from imgrec.data.held_out import held_out, memory_images
from imgrec.data.source import MemoryImages, Source
from imgrec.data.split import Indices, stratified
from imgrec.errors import RunError

if TYPE_CHECKING:
    from imgrec.components.data.eurosat import EuroSat

VAL_SEED, TEST_SEED = 21, 22  # seeds of the splits; constants, so that every run and every paper has the same ones
TEST_SHARE = 5  # one image in five: the publishers give no split, and compare with 80 % for training
_SIDE = 64


def load(cfg: "EuroSat") -> Source:
    """Load EuroSAT with fixed stratified splits. Test images are decoded by `Source.open_test` only.

    Raises:
        RunError: The archive is absent and cannot be downloaded, or is not the official one.
    """
    folder = files.PUBLISHED.ensure(Path(cfg.root).expanduser(), download=cfg.download)
    images, labels_n = _files(folder)
    rest, _ = _split(labels_n)
    return held_out(
        cfg,
        archived_images.decoded(folder / files.ARCHIVE, [images[place] for place in rest], _SIDE),
        labels_n[rest],
        classes=files.CLASSES,
        seed=VAL_SEED,
        open_test=partial(_open_test, folder),
    )


def _open_test(folder: Path) -> MemoryImages:
    images, labels_n = _files(folder)
    _, test = _split(labels_n)
    pixels_nchw = archived_images.decoded(folder / files.ARCHIVE, [images[place] for place in test], _SIDE)
    return memory_images(pixels_nchw, labels_n[test])


def _split(labels_n: Indices) -> tuple[Indices, Indices]:
    """Return the indices of the images that stay, and of the test images."""
    return stratified(labels_n, len(labels_n) // TEST_SHARE, seed=TEST_SEED, key="the test split of EuroSAT")


def _files(folder: Path) -> tuple[list[tuple[str, bytes]], Indices]:
    """Return name and bytes of each image, sorted by name, and their labels, int64 (N,)."""
    found = archived_images.contents(files.PUBLISHED, folder, files.ARCHIVE, lambda name: name.endswith(".jpg"))
    names = [name.split("/")[-2] if "/" in name else "" for name in found]
    if other := sorted(set(names) ^ set(files.CLASSES)):
        raise RunError(
            f"{folder / files.ARCHIVE}: must hold a folder of images for each of {', '.join(files.CLASSES)}, and"
            f" differs in {other[0]!r}; restore the official file"
        )
    return list(found.items()), np.array([files.CLASSES.index(name) for name in names], np.int64)
