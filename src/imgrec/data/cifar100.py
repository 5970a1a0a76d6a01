"""Load CIFAR-100 (Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images") into memory."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from imgrec.data import cifar100_files as files
from imgrec.data.held_out import held_out, memory_images
from imgrec.data.source import MemoryImages, Source
from imgrec.errors import RunError

if TYPE_CHECKING:
    from imgrec.components.data.cifar100 import Cifar100

SPLIT_SEED = 15  # seed of the validation split; constant, so that every run and every paper has the same one


def load(cfg: "Cifar100") -> Source:
    """Load CIFAR-100 with a validation split that is balanced by fine class, for both kinds of labels.

    Only `Source.open_test` opens the test file.

    Raises:
        RunError: A file is absent and cannot be downloaded, or is not the official one.
    """
    folder = files.PUBLISHED.ensure(Path(cfg.root).expanduser(), download=cfg.download)
    images_nchw, fine_n, coarse_n = files.read_batch(folder, files.TRAIN)
    above = files.superclasses(folder / files.TRAIN, fine_n, coarse_n)
    return held_out(
        cfg,
        images_nchw,
        fine_n if cfg.labels == "fine" else coarse_n,
        classes=files.read_classes(folder, cfg.labels),
        seed=SPLIT_SEED,
        open_test=partial(_open_test, folder, cfg.labels, above),
        balanced_n=fine_n,
    )


def _open_test(folder: Path, labels: str, above: dict[int, int]) -> MemoryImages:
    images_nchw, fine_n, coarse_n = files.read_batch(folder, files.TEST)
    if files.superclasses(folder / files.TEST, fine_n, coarse_n).items() - above.items():
        raise RunError(
            f"{folder / files.TEST}: its fine classes must lie in the coarse classes of {files.TRAIN}, and some do not;"
            " restore the official file"
        )
    return memory_images(images_nchw, fine_n if labels == "fine" else coarse_n)
