"""Test that images stored with their border give the same crops and batches as images without it."""

import numpy as np
import pytest
import torch
from torch import Tensor

from imgrec.config.augment import Augment
from imgrec.data.augment import PaddedImages, crop, pad
from imgrec.data.loader import TrainBatches
from imgrec.data.source import Images, MemoryImages


class Streamed:
    """The same images, but not in memory as far as anybody knows."""

    def __init__(self, images: MemoryImages) -> None:
        self._images = images
        self.labels = images.labels

    def __len__(self) -> int:
        return len(self._images)

    def read(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self._images.read(indices)


@pytest.fixture
def images() -> MemoryImages:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (50, 3, 24, 26), dtype=torch.uint8, generator=generator)
    return MemoryImages(pixels, torch.arange(50) % 5)


@pytest.mark.parametrize("border", ["black", "reflect"])
def test_crops_are_those_of_images_without_a_frame(images: MemoryImages, border: str) -> None:
    random = np.random.default_rng(0)
    indices, shifts = random.integers(0, 50, 40), random.integers(0, 9, (40, 2))
    cropped = PaddedImages(images, padding=4, border=border).cropped(indices, shifts)
    assert np.array_equal(cropped, crop(images.images_nchw.numpy()[indices], shifts, padding=4, border=border))
    cropped[:] = 0  # the caller's own
    again = PaddedImages(images, padding=4, border=border).cropped(indices, shifts)
    assert again.any()


@pytest.mark.parametrize("mix", ["none", "mixup", "cutmix"])
@pytest.mark.parametrize("border", ["black", "reflect"])
def test_batches_are_those_of_images_that_cannot_be_framed(images: MemoryImages, border: str, mix: str) -> None:
    cfg = Augment(name="x", crop_padding=4, crop_border=border, flip=True, brightness=0.1, cutout_size=5, mix=mix)

    def batches(source: Images) -> TrainBatches:
        return TrainBatches(source, augment=cfg, num_classes=5, batch_size=16, seed=3, rank=0, world_size=1)

    assert pad(images, cfg) is not None
    assert pad(Streamed(images), cfg) is None
    kept, made = batches(images), batches(Streamed(images))
    for key in [(0, 0), (0, 3), (1, 1)]:
        for ours, plain in zip(kept[key], made[key], strict=True):
            assert torch.equal(ours, plain)


@pytest.mark.parametrize(
    "cfg",
    [
        Augment(name="x"),
        Augment(name="x", crop_padding=2, policy="trivialaugment"),  # which comes before the crop
        Augment(name="x", crop_padding=5),  # a wide border would double the bytes
    ],
)
def test_other_batches_are_cut_one_by_one(images: MemoryImages, cfg: Augment) -> None:
    assert pad(images, cfg) is None
