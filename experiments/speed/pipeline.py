"""Images per second of the input pipeline alone: imgrec's batches beside torchvision's transforms in workers."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ratios import Row, alone, ratio
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from imgrec.components.data.cifar10 import Cifar10
from imgrec.config.augment import Augment
from imgrec.data import cifar10
from imgrec.data.loader import train_loader

BATCH = 512
CROP_FLIP = Augment(name="crop_flip", crop_padding=4, flip=True)
WORKERS = 2


def imgrec_rate(root: Path) -> float:
    """Crop and flip by 4, float32 batches, in the training process."""
    source = cifar10.load(Cifar10(root=str(root), val_size=0, download=False))
    return _rate(train_loader(source.train, augment=CROP_FLIP, num_classes=10, batch_size=BATCH, seed=0))


def torchvision_rate(root: Path) -> float:
    """The same by the usual transforms, image by image in 2 worker processes."""
    steps = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    images = datasets.CIFAR10(root, train=True, transform=transforms.Compose(steps))
    loader = DataLoader(images, batch_size=BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True)
    return _rate(loader)


def _rate(loader: Iterable[Any]) -> float:
    """Of a second pass; the first starts workers and fills caches."""
    for _ in loader:
        pass
    began, seen = time.perf_counter(), 0
    for images_nchw, _ in loader:
        seen += len(images_nchw)
    return seen / (time.perf_counter() - began)


def measure(root: Path, rounds: int) -> list[Row]:
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(alone(lambda: imgrec_rate(root)))
        theirs.append(alone(lambda: torchvision_rate(root)))
    a = Row(name="imgrec", values=tuple(ours), unit="images/s")
    b = Row(name=f"torchvision, {WORKERS} workers", values=tuple(theirs), unit="images/s")
    return [ratio("imgrec / torchvision", a, b, aim=">= 20"), a, b]
