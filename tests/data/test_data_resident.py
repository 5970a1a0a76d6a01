"""Test that batches made on a device are bit-equal to those of NumPy, and that nothing waits for the device.

The device is the CPU, or torch's `meta`, which has shapes but no values, so that reading a value fails.
"""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from imgrec.components.data.folder import Folder
from imgrec.config.augment import Augment
from imgrec.data import folder
from imgrec.data.loader import train_loader
from imgrec.data.pruning import Subset
from imgrec.data.resident import ResidentBatches
from imgrec.data.source import MemoryImages
from imgrec.errors import UsageError

COUNT = 53
CPU, META = torch.device("cpu"), torch.device("meta")
REFLECT: dict[str, Any] = {"crop_padding": 4, "crop_border": "reflect"}
ALL: dict[str, Any] = {**REFLECT, "flip": True, "flip_rule": "alternating", "cutout_size": 4}
AUGMENTATIONS: list[dict[str, Any]] = [
    {},
    *({"crop_padding": padding} for padding in (1, 2, 4, 9, 20)),
    *({"crop_padding": padding, "crop_border": "reflect"} for padding in (1, 2, 6)),
    {"flip": True},
    {"flip": True, "flip_rule": "alternating"},
    {"crop_padding": 2, "flip": True},
    {"crop_padding": 2, "crop_border": "reflect", "flip": True},
    *({"cutout_size": size} for size in (1, 3, 4, 30)),
    {"brightness": 0.1},
    {"brightness": 0.2, "contrast": 0.5, "cutout_size": 4, "mix": "mixup"},
    {"mix": "mixup"},
    {"mix": "mixup", "mix_alpha": 0.2},
    {"mix": "cutmix"},
    {"mix": "cutmix", "mix_alpha": 0.2},
    {"mix": "cutmix", "mix_probability": 0.5},
    {"mix": "mixup", "mix_probability": 0.5},
    {"erase_probability": 0.5},
    {"mix": "mixup_cutmix"},
    {"mix": "mixup_cutmix", "mix_switch": 0.3, "mix_probability": 0.7, "mix_alpha": 0.2},
    {**ALL},
    {**ALL, "erase_probability": 1, "mix": "mixup_cutmix"},
    {**ALL, "mix": "mixup"},
    {**ALL, "mix": "cutmix"},
    {"crop_padding": 9, "flip": True, "cutout_size": 5, "mix": "cutmix"},
]


def images_of(height: int = 8, width: int = 8, channels: int = 3) -> MemoryImages:
    noise = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (COUNT, channels, height, width), dtype=torch.uint8, generator=noise)
    return MemoryImages(pixels, torch.randint(0, 5, (COUNT,), generator=noise))


def loader(augmentation: dict[str, Any], images: MemoryImages | None = None, **changes: Any) -> Any:
    return train_loader(
        images if images is not None else images_of(),
        augment=Augment(name="some", **augmentation),
        num_classes=5,
        **{"batch_size": 16, "seed": 1, **changes},
    )


def assert_same_batches(one: Any, other: Any) -> None:
    for epoch in (0, 1, 2):
        one.sampler.set_epoch(epoch)
        other.sampler.set_epoch(epoch)
        assert len(one) == len(other)
        for number, (expected, made) in enumerate(zip(one, other, strict=True)):
            assert one.dataset.indices(epoch, number) == other.dataset.indices(epoch, number)
            for table, same in zip(expected, made, strict=True):
                assert same.dtype == table.dtype
                assert same.is_contiguous()
                assert torch.equal(same, table), (epoch, number)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=str)
def test_batches_are_those_of_numpy_to_the_last_bit(augmentation: dict[str, Any]) -> None:
    assert_same_batches(loader(augmentation), loader(augmentation, resident_on=CPU))


@pytest.mark.parametrize("world_size", [1, 2])
def test_so_they_are_without_the_images_that_are_left_out(world_size: int) -> None:
    subset = Subset(COUNT)
    subset.keep(torch.arange(COUNT) % 3 > 0, since=1)
    place = {"rank": world_size - 1, "world_size": world_size, "subset": subset}
    assert_same_batches(loader(ALL, **place), loader(ALL, resident_on=CPU, **place))


@pytest.mark.parametrize("mix", ["none", "mixup", "cutmix"])
@pytest.mark.parametrize(("height", "width", "channels"), [(7, 7, 3), (5, 9, 1), (12, 6, 3)])
def test_so_they_are_for_sides_of_any_kind(height: int, width: int, channels: int, mix: str) -> None:
    images = images_of(height, width, channels)
    for border in ("black", "reflect"):
        augmentation = {**ALL, "crop_border": border, "mix": mix}
        assert_same_batches(loader(augmentation, images), loader(augmentation, images, resident_on=CPU))


@pytest.mark.parametrize("mix", ["none", "mixup", "cutmix"])
@pytest.mark.parametrize("batch_size", [1, 16, 100])
@pytest.mark.parametrize(("rank", "world_size"), [(0, 2), (1, 2), (2, 3), (59, 60)])
def test_so_they_are_on_each_of_several_devices(rank: int, world_size: int, batch_size: int, mix: str) -> None:
    words = {"rank": rank, "world_size": world_size, "batch_size": batch_size}
    augmentation = {**ALL, "mix": mix}
    assert_same_batches(loader(augmentation, **words), loader(augmentation, **words, resident_on=CPU))


def test_a_seed_of_its_own_gives_other_batches() -> None:
    (one, _), *_ = loader(ALL, seed=2, resident_on=CPU)
    (same, _), *_ = loader(ALL, seed=2)
    (other, _), *_ = loader(ALL, seed=3, resident_on=CPU)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("start", [0, 1, 3, 4])
def test_a_resumed_epoch_goes_on_in_place(start: int) -> None:
    augmentation = {**ALL, "mix": "cutmix"}
    resumed, straight = loader(augmentation, resident_on=CPU), loader(augmentation)
    resumed.sampler.set_epoch(2)
    straight.sampler.set_epoch(2)
    resumed.sampler.start_at(start)
    rest = list(straight)[start:]
    found = list(resumed)
    assert len(found) == len(rest) == 4 - start
    for batch, expected in zip(found, rest, strict=True):
        assert torch.equal(batch[0], expected[0])
        assert torch.equal(batch[1], expected[1])


def test_a_batch_may_be_written_into() -> None:
    images = images_of()
    before = images.images_nchw.clone(), images.labels.clone()
    batches = loader({}, images, resident_on=CPU)
    for pixels, _ in batches:
        pixels.zero_()
    assert torch.equal(images.images_nchw, before[0])
    assert torch.equal(images.labels, before[1])
    assert_same_batches(loader({}, images), batches)


class _Stays(TorchDispatchMode):
    """Refuses every operation that takes a tensor from elsewhere than the device, or makes one there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        elsewhere = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor) and leaf.is_cpu]
        assert not elsewhere, func
        return result


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=str)
def test_a_batch_looks_at_no_value_and_leaves_the_device_alone(augmentation: dict[str, Any]) -> None:
    batches = loader(augmentation, resident_on=META).dataset
    batches[0, 0]  # an epoch's table moves to the device with its first batch
    with _Stays():
        made = [batches[0, number] for number in range(4)]
    for number, (pixels, targets) in enumerate(made):
        count = 16 if number < 3 else COUNT - 48
        assert pixels.device == targets.device == META
        assert pixels.shape == (count, 3, 8, 8)
        assert targets.shape == ((count, 5) if "mix" in augmentation else (count,))


def test_no_workers_are_started_and_nothing_is_pinned() -> None:
    batches = loader({}, num_workers=2, pin_memory=True, resident_on=CPU)
    assert isinstance(batches.dataset, ResidentBatches)
    assert batches.num_workers == 0
    assert not batches.pin_memory


# ---- refusals


def test_a_policy_is_refused() -> None:
    with pytest.raises(ValueError, match=r"resident batches need augment\.policy=none, got 'trivialaugment'"):
        loader({"policy": "trivialaugment"}, resident_on=CPU)


def test_a_reflected_border_as_wide_as_the_images_is_refused() -> None:
    with pytest.raises(ValueError, match="a reflected border of 6 px needs larger images, got 6x9"):
        loader({"crop_padding": 6, "crop_border": "reflect"}, images_of(6, 9), resident_on=CPU)


def test_mixing_one_image_is_refused() -> None:
    single = MemoryImages(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(1))
    with pytest.raises(UsageError, match=r"augment\.mix=mixup needs at least 2 training images, got 1"):
        loader({"mix": "mixup"}, single, resident_on=CPU)


def test_images_on_disk_are_refused(image_folder: Any) -> None:
    streamed = folder.load(Folder(root=str(image_folder), image_size=8)).train
    with pytest.raises(ValueError, match="resident batches need MemoryImages, got FolderImages"):
        loader({}, streamed, resident_on=CPU)  # type: ignore[arg-type]
