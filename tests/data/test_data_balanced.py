"""Test class-balanced epochs (data.sampler=balanced): which images they show, and how often."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from imgrec.config.augment import Augment
from imgrec.data.balanced import standing
from imgrec.data.loader import train_loader
from imgrec.data.source import MemoryImages

SIZES = (31, 12, 5, 2)
LABELS = np.repeat(np.arange(4), SIZES)
COUNT = len(LABELS)
NONE = Augment(name="none")
SHIFTED = Augment(name="shifted", crop_padding=3, flip=True)


@pytest.fixture(scope="module")
def images() -> MemoryImages:
    """Image i has i in all its pixels."""
    pixels = torch.arange(COUNT, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8).contiguous()
    return MemoryImages(pixels, torch.from_numpy(LABELS))


def batches(images: MemoryImages, augment: Augment = NONE, *, epoch: int = 0, **changes: Any) -> list[Any]:
    settings = {"batch_size": 16, "seed": 1, "balances": True, **changes}
    loader: Any = train_loader(images, augment=augment, num_classes=4, **settings)
    loader.sampler.set_epoch(epoch)
    return [tuple(batch) for batch in loader]


def seen(found: list[Any]) -> list[int]:
    """The images of an epoch without augmentation."""
    return [round(float(image[0, 0, 0]) * 255) for images_bchw, _ in found for image in images_bchw]


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_an_epoch_shows_every_class_equally_often(images: MemoryImages, epoch: int) -> None:
    found = batches(images, epoch=epoch)
    assert [len(targets) for _, targets in found] == [16, 16, 16, 2], "as many images as any other epoch"
    targets = torch.cat([targets for _, targets in found])
    assert sorted(targets.bincount().tolist()) == [12, 12, 13, 13]
    assert targets.tolist() == LABELS[seen(found)].tolist(), "each image has its own class"


def test_a_class_shows_all_its_images_before_one_comes_again() -> None:
    visits = Counter[int]()
    for epoch in range(25):
        visits.update(standing(LABELS, seed=3, epoch=epoch).tolist())
        for label in range(4):
            counts = [visits[image] for image in np.flatnonzero(label == LABELS)]
            assert max(counts) - min(counts) <= 1, f"class {label} after epoch {epoch}"
    of_classes = Counter(LABELS[list(visits.elements())].tolist())
    assert max(of_classes.values()) - min(of_classes.values()) <= 1


def test_equal_classes_show_every_image_once_an_epoch() -> None:
    labels = np.arange(40) % 4
    for epoch in (0, 5):
        assert sorted(standing(labels, seed=0, epoch=epoch).tolist()) == list(range(40))


def test_a_class_without_images_has_no_places() -> None:
    labels = np.array([0, 0, 0, 3])
    assert np.bincount(labels[standing(labels, seed=0, epoch=0)], minlength=4).tolist() == [2, 0, 0, 2]


def test_each_visit_of_a_rare_image_is_augmented_by_itself(images: MemoryImages) -> None:
    found = batches(images, SHIFTED)
    rare = [
        image for images_bchw, targets in found for image, label in zip(images_bchw, targets, strict=True) if label == 3
    ]
    assert len(rare) >= 12
    assert len({image.numpy().tobytes() for image in rare}) >= 8, "two images, shifted differently each time"


def test_partners_of_a_mixture_are_balanced_too(images: MemoryImages) -> None:
    mixed = Augment(name="mixup", mix="mixup")
    shares = sum(targets.sum(dim=0) for epoch in range(20) for _, targets in batches(images, mixed, epoch=epoch))
    assert (shares / shares.sum()).tolist() == pytest.approx([0.25] * 4, abs=0.03)


@pytest.mark.parametrize("augment", [NONE, SHIFTED, Augment(name="cutmix", mix="cutmix", flip=True)])
def test_workers_devices_and_residence_change_no_batch(images: MemoryImages, augment: Augment) -> None:
    alone = batches(images, augment, epoch=2)
    for changes in ({"num_workers": 2}, {"resident_on": torch.device("cpu")}):
        for (one, its), (other, others) in zip(alone, batches(images, augment, epoch=2, **changes), strict=True):
            assert torch.equal(one, other)
            assert torch.equal(its, others)
    both = [batches(images, augment, epoch=2, batch_size=8, rank=rank, world_size=2) for rank in (0, 1)]
    for number, (one, _) in enumerate(alone):
        parts = [both[rank][number][0] for rank in (0, 1)]
        assert torch.equal(torch.stack(parts, dim=1).flatten(0, 1), one)


def test_the_indices_of_a_batch_are_its_images(images: MemoryImages) -> None:
    loader: Any = train_loader(images, augment=NONE, num_classes=4, batch_size=16, seed=1, balances=True)
    loader.sampler.set_epoch(4)
    told = [index for number in range(len(loader)) for index in loader.dataset.indices(4, number)]
    assert told == seen([tuple(batch) for batch in loader])
