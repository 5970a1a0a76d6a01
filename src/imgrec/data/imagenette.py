"""Load Imagenette (Howard 2019, github.com/fastai/imagenette) into memory."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from imgrec.data import archived_images
from imgrec.data import imagenette_files as files
from imgrec.data.held_out import Pixels, held_out, memory_images
from imgrec.data.source import MemoryImages, Source
from imgrec.data.split import Indices
from imgrec.errors import RunError

if TYPE_CHECKING:
    from imgrec.components.data.imagenette import Imagenette

SPLIT_SEED = 23  # seed of the validation split; constant, so that every run and every paper has the same one


def load(cfg: "Imagenette") -> Source:
    """Load Imagenette, resized. Its folder `train` has a stratified validation split, its folder `val` is the test set.

    Test images are decoded by `Source.open_test` only.

    Raises:
        RunError: The archive is absent and cannot be downloaded, or is not the official one.
    """
    folder = files.PUBLISHED.ensure(Path(cfg.root).expanduser(), download=cfg.download)
    images_nchw, labels_n = _read(folder, "train", cfg.image_size)
    return held_out(
        cfg,
        images_nchw,
        labels_n,
        classes=tuple(files.CLASSES.values()),
        seed=SPLIT_SEED,
        open_test=partial(_open_test, folder, cfg.image_size),
    )


def _open_test(folder: Path, size: int) -> MemoryImages:
    return memory_images(*_read(folder, "val", size))


def _read(folder: Path, split: str, size: int) -> tuple[Pixels, Indices]:
    """Return the images of one folder of the archive, sorted by name, and their labels."""
    images = archived_images.contents(
        files.PUBLISHED,
        folder,
        files.ARCHIVE,
        lambda name: name.split("/")[-3:-2] == [split] and name.endswith(".JPEG"),
    )
    numbers = [name.split("/")[-2] for name in images]
    if other := sorted(set(numbers) ^ set(files.CLASSES)):
        raise RunError(
            f"{folder / files.ARCHIVE}: {split} must hold a folder of images for each of {', '.join(files.CLASSES)},"
            f" and differs in {other[0]!r}; restore the official file"
        )
    order = list(files.CLASSES)
    pixels_nchw = archived_images.decoded(folder / files.ARCHIVE, list(images.items()), size)
    return pixels_nchw, np.array([order.index(number) for number in numbers], np.int64)
