"""Load STL-10 (Coates et al. 2011, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning")."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from imgrec.data import stl10_files as files
from imgrec.data.held_out import held_out, memory_images
from imgrec.data.source import MemoryImages, Source

if TYPE_CHECKING:
    from imgrec.components.data.stl10 import Stl10

SPLIT_SEED = 20  # seed of the validation split; constant, so that every run and every paper has the same one


def load(cfg: "Stl10") -> Source:
    """Load the labelled images of STL-10 with a class-balanced validation split, without the unlabelled ones.

    Only `Source.open_test` opens the test files.

    Raises:
        RunError: A file is absent and cannot be downloaded, or is not the official one.
    """
    folder = files.PUBLISHED.ensure(Path(cfg.root).expanduser(), download=cfg.download)
    images_nchw, labels_n = files.read(folder, "train")
    return held_out(
        cfg,
        images_nchw,
        labels_n,
        classes=files.CLASSES,
        seed=SPLIT_SEED,
        open_test=partial(_open_test, folder),
    )


def _open_test(folder: Path) -> MemoryImages:
    return memory_images(*files.read(folder, "test"))
