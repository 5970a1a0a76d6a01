"""Test that batches are the same with any workers, can resume anywhere, and are distributed among devices."""

from typing import Any

import numpy as np
import pytest
import torch
from noise import augmented
from torch import Tensor

from imgrec.config.augment import Augment
from imgrec.data.augment import mixup, to_unit
from imgrec.data.augment_params import draw, order
from imgrec.data.loader import eval_loader, train_loader
from imgrec.data.source import MemoryImages, ReadError, channel_statistics
from imgrec.errors import RunError, UsageError

COUNT = 50
NONE = Augment(name="none")
ALL = Augment(name="all", policy="trivialaugment", crop_padding=2, flip=True, cutout_size=3, mix="cutmix")

Batches = list[tuple[Tensor, Tensor]]


@pytest.fixture(scope="module")
def images() -> MemoryImages:
    """Image i has i in its first pixel and class i % 5."""
    pixels = torch.randint(0, 256, (COUNT, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pixels[:, :, 0, 0] = torch.arange(COUNT, dtype=torch.uint8)[:, None]
    return MemoryImages(pixels, torch.arange(COUNT) % 5)


def loader(images: MemoryImages, augment: Augment = NONE, **changes: Any) -> Any:
    return train_loader(images, augment=augment, num_classes=5, **{"batch_size": 16, "seed": 1, **changes})


def epoch_of(batches: Any, epoch: int = 0) -> Batches:
    batches.sampler.set_epoch(epoch)
    return [tuple(batch) for batch in batches]


def indices_of(batches: Batches) -> list[int]:
    return [round(float(image[0, 0, 0]) * 255) for images_bchw, _ in batches for image in images_bchw]


def equal(one: Batches, two: Batches) -> bool:
    return len(one) == len(two) and all(
        torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(one, two, strict=True)
    )


# ---- training


def test_an_epoch_is_every_image_once_in_the_drawn_order(images: MemoryImages) -> None:
    batches = loader(images)
    found = epoch_of(batches, 3)
    assert len(batches) == 4
    assert [len(targets) for _, targets in found] == [16, 16, 16, 2]
    assert indices_of(found) == order(COUNT, seed=1, epoch=3).tolist()
    for images_bchw, targets in found:
        assert isinstance(images_bchw, Tensor)
        assert images_bchw.dtype == torch.float32
        assert images_bchw.is_contiguous()
        assert images_bchw.shape[1:] == (3, 8, 8)
        assert targets.dtype == torch.int64
        assert (targets == torch.tensor(indices_of([(images_bchw, targets)])) % 5).all()


def test_epochs_and_seeds_differ(images: MemoryImages) -> None:
    zero = indices_of(epoch_of(loader(images), 0))
    assert zero != indices_of(epoch_of(loader(images), 1))
    assert zero != indices_of(epoch_of(loader(images, seed=2), 0))


def test_workers_change_nothing(images: MemoryImages) -> None:
    alone, helped = loader(images, ALL), loader(images, ALL, num_workers=2)
    for epoch in (0, 1):
        assert equal(epoch_of(alone, epoch), epoch_of(helped, epoch))


def test_batch_size_changes_no_image(images: MemoryImages) -> None:
    large, small = epoch_of(loader(images, ALL, batch_size=50), 2), epoch_of(loader(images, ALL, batch_size=7), 2)
    assert torch.equal(large[0][0], torch.cat([images_bchw for images_bchw, _ in small]))
    assert torch.equal(large[0][1], torch.cat([targets for _, targets in small]))


def test_loading_leaves_the_global_generators(images: MemoryImages) -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    before, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()
    epoch_of(loader(images, ALL))
    list(eval_loader(images, batch_size=8))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], legacy)


def test_mixing_takes_the_partner_with_its_own_augmentation(images: MemoryImages) -> None:
    cfg = Augment(name="mixup", crop_padding=2, flip=True, mix="mixup")
    ((mixed, targets),) = epoch_of(loader(images, cfg, batch_size=COUNT), 4)
    draws, visits = draw(cfg, COUNT, seed=1, epoch=4), order(COUNT, seed=1, epoch=4)
    everything = augmented(images.images_nchw.numpy().copy(), draws, cfg)
    partners = draws.partner_n[visits]
    expected = mixup(everything[visits], everything[partners], draws.share_n[visits].astype(np.float32))
    assert np.array_equal(mixed.numpy(), expected)
    assert targets.dtype == torch.float32
    assert targets.shape == (COUNT, 5)
    assert torch.allclose(targets.sum(1), torch.ones(COUNT))
    shares = draws.share_n[visits]
    for row, (own, partner) in enumerate(zip(visits % 5, partners % 5, strict=True)):
        if own != partner:
            assert targets[row, own] == pytest.approx(shares[row])
            assert targets[row, partner] == pytest.approx(1 - shares[row], abs=1e-6)


def test_mixing_one_image_is_refused_at_once() -> None:
    single = MemoryImages(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(1))
    with pytest.raises(UsageError, match=r"augment\.mix=mixup needs at least 2 training images, got 1"):
        loader(single, Augment(name="mixup", mix="mixup"))


# ---- resuming


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("start", [0, 1, 3, 4])
def test_a_resumed_epoch_goes_on_in_place(images: MemoryImages, start: int, num_workers: int) -> None:
    straight = loader(images, ALL)
    resumed = loader(images, ALL, num_workers=num_workers)
    resumed.sampler.set_epoch(2)
    resumed.sampler.start_at(start)
    assert len(resumed) == 4
    assert equal([tuple(batch) for batch in resumed], epoch_of(straight, 2)[start:])
    assert equal(epoch_of(resumed, 3), epoch_of(straight, 3))


def test_the_start_waits_for_the_first_batch(images: MemoryImages) -> None:
    batches = loader(images)
    batches.sampler.start_at(2)
    iter(batches)  # as Lightning does before the first epoch
    batches.sampler.set_epoch(1)
    assert equal(list(batches), epoch_of(loader(images), 1)[2:])


@pytest.mark.parametrize("batch", [-1, 5])
def test_a_start_outside_the_epoch_is_refused(images: MemoryImages, batch: int) -> None:
    with pytest.raises(ValueError, match=f"an epoch of 4 batches cannot start at batch {batch}"):
        loader(images).sampler.start_at(batch)


# ---- evaluation


@pytest.mark.parametrize("num_workers", [0, 2])
def test_evaluation_sees_every_image_as_it_is(images: MemoryImages, num_workers: int) -> None:
    batches = eval_loader(images, batch_size=16, num_workers=num_workers)
    found = list(batches)
    assert len(found) == len(batches) == 4
    assert max(len(targets) for _, targets in found) <= 16
    assert torch.equal(torch.cat([part for part, _ in found]), torch.from_numpy(to_unit(images.images_nchw.numpy())))
    assert torch.equal(torch.cat([targets for _, targets in found]), images.labels)


# ---- several devices


@pytest.mark.parametrize("world_size", [2, 3, 4])
@pytest.mark.parametrize("batch_size", [1, 7, 16])
def test_devices_train_on_everything_in_step(images: MemoryImages, world_size: int, batch_size: int) -> None:
    shards = [loader(images, batch_size=batch_size, rank=rank, world_size=world_size) for rank in range(world_size)]
    found = [indices_of(epoch_of(shard, 1)) for shard in shards]
    assert len({len(shard) for shard in shards}) == 1
    assert len({len(indices) for indices in found}) == 1
    visits = order(COUNT, seed=1, epoch=1).tolist()
    interleaved = [index for group in zip(*found, strict=True) for index in group]
    padded = -(-COUNT // world_size) * world_size
    assert interleaved == (visits + visits)[:padded]


def test_more_devices_than_images_repeat_them() -> None:
    few = MemoryImages(torch.arange(3, dtype=torch.uint8).reshape(3, 1, 1, 1), torch.zeros(3))
    found = [indices_of(epoch_of(loader(few, rank=rank, world_size=8))) for rank in range(8)]
    assert sorted({index for indices in found for index in indices}) == [0, 1, 2]
    assert {len(indices) for indices in found} == {1}


@pytest.mark.parametrize("world_size", [2, 3, 4, 7])
@pytest.mark.parametrize("batch_size", [2, 5, 16, 100])
def test_devices_evaluate_everything_once(images: MemoryImages, world_size: int, batch_size: int) -> None:
    shards = [
        eval_loader(images, batch_size=batch_size, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    found = [list(shard) for shard in shards]
    assert len({len(batches) for batches in found} | {len(shard) for shard in shards}) == 1
    assert sorted(index for batches in found for index in indices_of(batches)) == list(range(COUNT))
    assert all(0 < len(targets) <= batch_size for batches in found for _, targets in batches)
    for rank, batches in enumerate(found):
        assert indices_of(batches) == list(range(rank, COUNT, world_size))


@pytest.mark.parametrize(("world_size", "batch_size"), [(51, 4), (7, 1)])
def test_too_few_images_for_the_devices_are_refused(images: MemoryImages, world_size: int, batch_size: int) -> None:
    with pytest.raises(
        UsageError, match=rf"evaluation needs at least 1 image .* got 50 images for {world_size} devices"
    ):
        eval_loader(images, batch_size=batch_size, rank=0, world_size=world_size)


# ---- sources in memory


def test_memory_images_hand_out_copies(images: MemoryImages) -> None:
    before = images.images_nchw.clone()
    read, positions = images.read(torch.tensor([4, 4, 0]))
    assert positions.tolist() == [0, 1, 2]
    read.zero_()
    assert torch.equal(images.images_nchw, before)


def test_memory_images_refuse_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"images must be uint8 \(N,C,H,W\) with labels \(N,\), got torch.float32"):
        MemoryImages(torch.zeros(2, 3, 8, 8), torch.zeros(2))
    with pytest.raises(ValueError, match=r"got torch.uint8 \(2, 3, 8, 8\) with \(3,\)"):
        MemoryImages(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(3))


def test_statistics_equal_their_definition(images: MemoryImages) -> None:
    mean, std = channel_statistics(images)
    pixels = images.images_nchw.double() / 255
    assert mean == pytest.approx(pixels.mean((0, 2, 3)).tolist(), abs=1e-12)
    assert std == pytest.approx(pixels.std((0, 2, 3), correction=0).tolist(), abs=1e-12)
    few, _ = channel_statistics(images, at_most=5)
    assert few == pytest.approx(pixels[::10].mean((0, 2, 3)).tolist(), abs=1e-12)


def test_statistics_of_a_constant_channel_divide_by_no_zero() -> None:
    flat = MemoryImages(torch.full((4, 3, 8, 8), 7, dtype=torch.uint8), torch.zeros(4))
    assert channel_statistics(flat) == (pytest.approx((7 / 255,) * 3), pytest.approx((1 / 255,) * 3))


def test_statistics_of_nothing_are_refused() -> None:
    with pytest.raises(RunError, match="mean and std need at least 1 readable training image, got 0"):
        channel_statistics(MemoryImages(torch.zeros(0, 3, 8, 8, dtype=torch.uint8), torch.zeros(0)))


def test_a_read_error_keeps_its_sentence() -> None:
    plain = ReadError("'a.jpg': must be whole")
    wrapped = ReadError(f"Caught ReadError in worker\nOriginal Traceback\nimgrec.data.source.ReadError: {plain}\n")
    assert str(plain) == str(wrapped) == "'a.jpg': must be whole"
    assert str(ReadError("")) == ""
