"""Load SVHN (Netzer et al. 2011, "Reading Digits in Natural Images with Unsupervised Feature Learning") into memory."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from imgrec.data import svhn_files as files
from imgrec.data.held_out import held_out, memory_images
from imgrec.data.source import MemoryImages, Source

if TYPE_CHECKING:
    from imgrec.components.data.svhn import Svhn

SPLIT_SEED = 19  # seed of the validation split; constant, so that every run and every paper has the same one


def load(cfg: "Svhn") -> Source:
    """Load SVHN with its stratified validation split, without the `extra` images.

    Only `Source.open_test` opens the test file.

    Raises:
        RunError: A file is absent and cannot be downloaded, or is not the official one.
    """
    folder = files.PUBLISHED.ensure(Path(cfg.root).expanduser(), download=cfg.download)
    images_nchw, labels_n = files.read(folder, files.TRAIN)
    return held_out(
        cfg,
        images_nchw,
        labels_n,
        classes=tuple("0123456789"),
        seed=SPLIT_SEED,
        open_test=partial(_open_test, folder),
    )


def _open_test(folder: Path) -> MemoryImages:
    return memory_images(*files.read(folder, files.TEST))
