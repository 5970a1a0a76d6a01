"""Test the loaders of a source's splits, which continue at the right batch after an interruption."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from imgrec.components.data.digits import Digits
from imgrec.components.data.folder import Folder
from imgrec.config.augment import Augment
from imgrec.config.data import Data
from imgrec.data import digits, folder
from imgrec.data.loader import TrainBatches
from imgrec.data.resident import ResidentBatches
from imgrec.data.source import Source
from imgrec.datamodule import ImageData
from imgrec.errors import RunError
from imgrec.stored.position import Position, RunPosition

AUGMENT = Augment(name="crop_flip", crop_padding=2, flip=True)
Batches = list[tuple[Tensor, Tensor]]


@pytest.fixture
def source(image_folder: Path) -> Source:
    return folder.load(Folder(root=str(image_folder), image_size=8, val_size=6, test_size=3))


def settings(**changes: int) -> Data:
    return Folder(root="anywhere", **{"batch_size": 8, "eval_batch_size": 4, **changes})


def module(source: Source, *, seed: int = 0, start: Position | None = None, **changes: int) -> ImageData:
    return ImageData(source=source, data=settings(**changes), augment=AUGMENT, seed=seed, position=RunPosition(start))


def epoch(data: ImageData, number: int) -> Batches:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(number)
    return list(loader)


def equal(one: Batches, other: Batches) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(one, other, strict=True)
    )


def test_an_epoch_holds_every_training_image_once_the_last_batch_smaller(source: Source) -> None:
    batches = epoch(module(source), 0)
    assert [len(targets) for _, targets in batches] == [8, 8, 8, 3]
    targets = torch.cat([targets for _, targets in batches])
    assert targets.bincount().tolist() == source.train.labels.bincount().tolist() == [9, 9, 9]
    images = torch.cat([images for images, _ in batches])
    assert images.shape == (27, 3, 8, 8)
    assert images.dtype == torch.float32
    assert 0 <= images.min() < images.max() <= 1


def test_order_and_augmentation_follow_from_seed_and_epoch(source: Source) -> None:
    first = epoch(module(source), 0)
    assert equal(first, epoch(module(source), 0))
    assert not equal(first, epoch(module(source), 1))
    assert not equal(first, epoch(module(source, seed=1), 0))
    assert equal(first, list(module(source).train_dataloader()))


def test_validation_is_the_whole_split_in_order_without_augmentation(source: Source) -> None:
    loader = module(source).val_dataloader()
    first, second = list(loader), list(loader)
    assert equal(first, second)
    assert [len(targets) for _, targets in first] == [3, 3]
    assert source.val is not None
    expected, _ = source.val.read(torch.arange(6))
    assert torch.equal(torch.cat([images for images, _ in first]), expected.float() / 255)
    assert torch.equal(torch.cat([targets for _, targets in first]), source.val.labels)


def test_without_validation_images_there_is_no_loader_for_them(image_folder: Path) -> None:
    source = folder.load(Folder(root=str(image_folder), image_size=8, val_size=0))
    with pytest.raises(RunError) as refusal:
        module(source).val_dataloader()
    assert str(refusal.value) == ("data.val_size=0 leaves no validation images; give data.val_size, or do not validate")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("at", "batch"), [(0, 0), (0, 1), (2, 3), (1, 0)])
def test_a_resumed_run_sees_the_batches_that_were_left_and_then_whole_epochs(
    source: Source, at: int, batch: int, workers: int
) -> None:
    resumed = module(source, num_workers=workers, start=Position(at, batch))
    assert resumed.state_dict() == {"epoch": at, "batch": batch}  # until something was trained
    loader = resumed.train_dataloader()
    iterator = iter(loader)  # Lightning makes it before it names the epoch
    loader.sampler.set_epoch(at)
    assert equal(list(iterator), epoch(module(source), at)[batch:])
    loader.sampler.set_epoch(at + 1)
    assert equal(list(loader), epoch(module(source), at + 1))
    assert len(loader) == 4


def test_images_in_memory_may_be_resident_and_on_the_cpu_are_when_asked() -> None:
    def made(resident: str) -> ImageData:
        cfg = Digits(batch_size=300, resident=resident)
        return ImageData(source=source, data=cfg, augment=AUGMENT, seed=0)

    source = digits.load(Digits())
    found = {resident: made(resident) for resident in ("auto", "false", "true")}
    loaders = {resident: data.train_dataloader() for resident, data in found.items()}
    assert isinstance(loaders["auto"].dataset, TrainBatches)
    assert isinstance(loaders["false"].dataset, TrainBatches)
    assert isinstance(loaders["true"].dataset, ResidentBatches)
    assert loaders["true"].num_workers == 0
    assert equal(list(loaders["true"]), list(loaders["false"]))
    assert found["true"].indices(1, 2) == found["false"].indices(1, 2)


def test_a_resumed_run_goes_on_with_resident_images() -> None:
    source = digits.load(Digits())
    resumed, straight = (
        ImageData(
            source=source,
            data=Digits(batch_size=300, resident=resident),
            augment=AUGMENT,
            seed=0,
            position=RunPosition(start),
        )
        for resident, start in (("true", Position(2, 3)), ("false", None))
    )
    assert equal(list(resumed.train_dataloader()), epoch(straight, 2)[3:])


def test_a_position_at_an_epoch_s_end_is_no_shortened_epoch(source: Source) -> None:
    resumed = module(source, start=Position(3, 4))
    assert equal(list(resumed.train_dataloader()), epoch(module(source), 3))


def test_a_new_run_begins_at_the_beginning(source: Source) -> None:
    assert module(source).state_dict() == {"epoch": 0, "batch": 0}
