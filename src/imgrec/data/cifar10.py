"""Load CIFAR-10 (Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images") into memory."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from imgrec.data import cifar10_files as files
from imgrec.data.source import MemoryImages, Source
from imgrec.data.split import validation

if TYPE_CHECKING:
    from imgrec.components.data.cifar10 import Cifar10

SPLIT_SEED = 10  # seed of the validation split; constant, so that every run and every paper has the same one

# over the 50 000 training images, computed from the files (tests/data/test_data_cifar10.py repeats it)
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)


def load(cfg: "Cifar10") -> Source:
    """Load CIFAR-10 with its class-balanced validation split. The files are downloaded if they are absent.

    Only `Source.open_test` opens the test file.

    Raises:
        RunError: A file is absent and cannot be downloaded, or is not the official one.
    """
    folder = files.published().ensure(Path(cfg.root).expanduser(), download=cfg.download)
    # sequential reading takes 0.4 s; in threads it takes twice that, as they wait for each other's memory pages
    batches = [files.read_batch(folder, name) for name in files.TRAIN_BATCHES]
    images_nchw = np.concatenate([images for images, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    kept, held_out = validation(cfg, labels, len(labels), seed=SPLIT_SEED)

    def subset(indices: np.ndarray) -> MemoryImages:
        return MemoryImages(torch.from_numpy(images_nchw[indices]), torch.from_numpy(labels[indices]))

    return Source(
        name=cfg.name,
        classes=files.read_classes(folder),
        image_size=32,
        channels=3,
        train=subset(kept),
        val=subset(held_out) if len(held_out) else None,
        open_test=partial(_open_test, folder),
        mean=MEAN,
        std=STD,
    )


def _open_test(folder: Path) -> MemoryImages:
    images_nchw, labels = files.read_batch(folder, files.TEST_BATCH)
    return MemoryImages(torch.from_numpy(images_nchw.copy()), torch.from_numpy(labels))
