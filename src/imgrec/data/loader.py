"""Batches: which images come when, on which device, and ready for the network."""

# N images, B of them in a batch, K classes, C channels, H rows, W columns

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from imgrec.config.augment import Augment
from imgrec.data import workers
from imgrec.data.augment import Floats, after_crop, augment, mix, pad, soft_targets, to_unit
from imgrec.data.augment_params import draw
from imgrec.data.batch_transport import hand_over, tell_again
from imgrec.data.epoch_table import Array, Epochs, EpochTable, Mixing, Transforms
from imgrec.data.pruning import Subset
from imgrec.data.resident import ResidentBatches
from imgrec.data.source import Images, MemoryImages, ReadError
from imgrec.errors import UsageError

Batch = tuple[Tensor, Tensor]
"""Images, float32 (B,C,H,W) in [0,1], contiguous, and targets: int64 (B,), or float32 (B,K) when images are mixed."""

Indices = NDArray[np.int64]


class BatchNumbers(Sampler[tuple[int, int]]):
    """The keys of an epoch's batches: (epoch, number), number rising from 0, or once from where a run stopped.

    An iteration takes epoch and start when its first key is asked for, not when it is made: with workers that is at
    `iter(loader)`, which Lightning calls *before* it calls `set_epoch`. So a resuming run sets both itself, when it
    hands out the loader.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._epoch = 0
        self._start = 0

    def __len__(self) -> int:
        """The batches of a whole epoch, wherever the next one starts."""
        return self._count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, start, self._start = self._epoch, self._start, 0
        for number in range(start, self._count):
            yield epoch, number

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before every epoch."""
        self._epoch = epoch

    def start_at(self, batch: int) -> None:
        """Let the next iteration, and only that one, begin at this batch number, in [0, len(self)]."""
        if not 0 <= batch <= self._count:
            raise ValueError(f"an epoch of {self._count} batches cannot start at batch {batch}")
        self._start = batch


class TrainBatches(Dataset[Batch]):
    """The finished batch for (epoch, number): a pure function of the images, the seed, the key and the subset.

    An epoch visits every image once, in an order of its own, until `subset` leaves some out; the last batch may be
    smaller. More than one device share the visits out (`epoch_table.visits`).
    """

    def __init__(
        self,
        images: Images,
        *,
        augment: Augment,
        num_classes: int,
        batch_size: int,
        seed: int,
        rank: int,
        world_size: int,
        subset: Subset | None = None,
    ) -> None:
        self._images = images
        self._padded = pad(images, augment)
        self._augment = augment
        self._num_classes = num_classes
        self._epochs = Epochs(
            augment,
            images.labels.numpy(),
            batch_size=batch_size,
            seed=seed,
            rank=rank,
            world_size=world_size,
            subset=subset,
        )
        self._side = _side(images.images_nchw) if isinstance(images, MemoryImages) else None
        self._held: tuple[int, EpochTable[Array]] | None = None

    def __len__(self) -> int:
        return len(self._epochs)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, number = key
        table = self._table(epoch, number).rows(self._epochs.batch(number))
        images_bchw, kept = self._transformed(table.own)
        if not len(kept):
            raise ReadError(f"batch {number} of epoch {epoch}: none of its images can be read; replace or delete them")
        table = table.rows(kept)
        if table.mixing is None:
            return torch.from_numpy(images_bchw), torch.from_numpy(table.own.label_v)
        return self._mixed(images_bchw, table.own.label_v, table.mixing)

    def indices(self, epoch: int, number: int) -> list[int]:
        """Which images the batch for that key asks for, of the split."""
        return [int(index) for index in self._epochs.indices(epoch, number)]

    def _table(self, epoch: int, number: int) -> EpochTable[Array]:
        """The epoch's table; images that are not in memory show their side when the first of a batch is read."""
        if self._held is None or self._held[0] != epoch:
            if self._side is None:
                first_bchw, _ = self._images.read(torch.from_numpy(self._epochs.indices(epoch, number)[:1]))
                self._side = _side(first_bchw)
            self._held = (epoch, self._epochs.table(epoch, side=self._side))
        return self._held[1]

    def _transformed(self, its: Transforms[Array]) -> tuple[Floats, Indices]:
        """The images that can be read, transformed, and their positions among the rows."""
        if self._padded is not None:
            assert its.shift_v2 is not None, "a crop has shifts"
            return after_crop(self._padded.cropped(its.index_v, its.shift_v2), its), np.arange(len(its.index_v))
        images_bchw, positions = self._images.read(torch.from_numpy(its.index_v))
        kept = positions.numpy()
        return augment(images_bchw.numpy(), its.rows(kept), self._augment), kept

    def _mixed(self, images_bchw: Floats, label_b: Indices, how: Mixing[Array]) -> Batch:
        partners_bchw, kept = self._transformed(how.partners)
        probability_b2 = how.probability_v2
        if len(kept) < len(images_bchw):
            # an image whose partner cannot be read is mixed with itself: it stays as it is
            some_bchw, partners_bchw = partners_bchw, images_bchw.copy()
            partners_bchw[kept] = some_bchw
            probability_b2 = np.full_like(probability_b2, (1, 0))
            probability_b2[kept] = how.probability_v2[kept]
        images_bchw = mix(images_bchw, partners_bchw, how)
        targets_bk = soft_targets(label_b, how.partners.label_v, probability_b2, num_classes=self._num_classes)
        return torch.from_numpy(images_bchw), torch.from_numpy(targets_bk)


class EvalBatches(Dataset[Any]):
    """The finished batch for (any epoch, number): images in their own order, as they are, none left out or twice.

    Device `rank` takes the images rank, rank + world_size, ... Every device has the same number of batches, or they
    would wait for each other for ever; their sizes differ by at most one.
    """

    def __init__(
        self, images: Images, *, batch_size: int, rank: int, world_size: int, with_indices: bool = False
    ) -> None:
        count = len(images)
        batches = -(-count // (world_size * batch_size))  # what the device with most images needs
        if count // world_size < max(batches, 1):
            raise UsageError(
                f"evaluation needs at least 1 image in every batch of every device, got {count} images for "
                f"{world_size} devices of {max(batches, 1)} batches; use fewer trainer.devices, "
                f"a larger data.eval_batch_size, or more images"
            )
        self._images = images
        self._labels = images.labels.numpy()
        self._with_indices = with_indices
        self._parts = np.array_split(np.arange(rank, count, world_size, dtype=np.int64), batches)

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, key: tuple[int, int]) -> Any:
        _, number = key
        indices = self._parts[number]
        images_bchw, positions = self._images.read(torch.from_numpy(indices))
        if not len(positions):
            raise ReadError(f"batch {number}: none of its images can be read; replace or delete them")
        kept = indices[positions.numpy()]
        batch = torch.from_numpy(to_unit(images_bchw.numpy())), torch.from_numpy(self._labels[kept])
        return (*batch, torch.from_numpy(kept)) if self._with_indices else batch


def train_loader(
    images: Images,
    *,
    augment: Augment,
    num_classes: int,
    batch_size: int,
    seed: int,
    num_workers: int = 0,
    pin_memory: bool = False,
    rank: int = 0,
    world_size: int = 1,
    resident_on: torch.device | None = None,
    subset: Subset | None = None,
) -> DataLoader[Batch]:
    """A loader of training batches; see `TrainBatches` for what they are and `BatchNumbers` for how to resume.

    batch_size: on each device. num_workers, pin_memory (for a GPU): change speed, never a batch.
    resident_on: a device to keep the images on and to make the batches on, without workers; see `ResidentBatches`.
    subset: which images are visited; None: all, always.
    Raises UsageError when images shall be mixed and there is only one, ValueError for images, or an augmentation, that
    `resident_on` cannot have.
    """
    tell_again()
    if augment.mix != "none" and len(images) < 2:
        draw(augment, len(images), seed=seed, epoch=0)  # refuses now rather than at the first batch
    if resident_on is not None:
        resident = ResidentBatches(
            images,
            device=resident_on,
            augment=augment,
            num_classes=num_classes,
            batch_size=batch_size,
            seed=seed,
            rank=rank,
            world_size=world_size,
            subset=subset,
        )
        return _loader(resident, len(resident), num_workers=0, pin_memory=False)
    batches = TrainBatches(
        images,
        augment=augment,
        num_classes=num_classes,
        batch_size=batch_size,
        seed=seed,
        rank=rank,
        world_size=world_size,
        subset=subset,
    )
    return _loader(batches, len(batches), num_workers, pin_memory)


def eval_loader(
    images: Images,
    *,
    batch_size: int,
    num_workers: int = 0,
    pin_memory: bool = False,
    rank: int = 0,
    world_size: int = 1,
    with_indices: bool = False,
) -> DataLoader[Any]:
    """A loader of validation or test batches; see `EvalBatches`.

    with_indices: a third member of each batch says which images of the split these are, int64 (B,).
    Raises UsageError when there are too few images for the devices.
    """
    batches = EvalBatches(images, batch_size=batch_size, rank=rank, world_size=world_size, with_indices=with_indices)
    return _loader(batches, len(batches), num_workers, pin_memory)


def _side(images_bchw: Tensor) -> tuple[int, int]:
    return images_bchw.shape[2], images_bchw.shape[3]


def _loader(batches: Dataset[Any], count: int, num_workers: int, pin_memory: bool) -> DataLoader[Any]:
    num_workers = workers.possible(num_workers)
    return DataLoader(
        batches,
        batch_size=None,
        sampler=BatchNumbers(count),
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        collate_fn=hand_over,  # a batch is finished: torch's own conversion would only make a list of the tuple
        worker_init_fn=workers.follow_parent,
        # forked, they share the images in memory; Python 3.14 would send each of them a copy
        multiprocessing_context="fork" if num_workers and sys.platform == "linux" else None,
        pin_memory=pin_memory,
        # a loader draws a number for its workers at every iteration: from here, not from the model's global generator
        generator=torch.Generator().manual_seed(0),
    )
