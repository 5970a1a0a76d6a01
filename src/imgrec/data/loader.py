"""Make batches: choose the images of each batch, for each device, and prepare them for the network."""

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
from imgrec.data.augment import Floats, after_crop, augment, mix, pad, soft_targets
from imgrec.data.augment_params import draw
from imgrec.data.batch_transport import hand_over, tell_again
from imgrec.data.epoch_table import Array, EpochTable, Mixing, Transforms
from imgrec.data.epochs import Epochs
from imgrec.data.eval_batches import EvalBatches
from imgrec.data.pruning import Subset
from imgrec.data.resident import ResidentBatches
from imgrec.data.source import Images, MemoryImages, ReadError

Batch = tuple[Tensor, Tensor]
"""Images, float32 (B,C,H,W) in [0,1], contiguous, and targets: int64 (B,), or float32 (B,K) when images are mixed."""

Indices = NDArray[np.int64]


class BatchNumbers(Sampler[tuple[int, int]]):
    """The keys of an epoch's batches: (epoch, number), with numbers rising from 0, or once from where a run stopped.

    An iteration reads epoch and start when its first key is requested, not when it is made. With workers this is at
    `iter(loader)`, which Lightning calls *before* it calls `set_epoch`. So a run that resumes sets both itself, when it
    returns the loader.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._epoch = 0
        self._start = 0

    def __len__(self) -> int:
        """The number of batches of a whole epoch, wherever the next one starts."""
        return self._count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, start, self._start = self._epoch, self._start, 0
        for number in range(start, self._count):
            yield epoch, number

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch. Lightning calls this before every epoch."""
        self._epoch = epoch

    def start_at(self, batch: int) -> None:
        """Start the next iteration, and only that one, at this batch number, in [0, len(self)]."""
        if not 0 <= batch <= self._count:
            raise ValueError(f"an epoch of {self._count} batches cannot start at batch {batch}")
        self._start = batch


class TrainBatches(Dataset[Batch]):
    """The finished batch for (epoch, number): a pure function of the images, the seed, the key and the subset.

    An epoch visits every image once, in an order of its own, until `subset` leaves some out. The last batch may be
    smaller. Several devices divide the visits among them (`visits.visits`).
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
        balances: bool = False,
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
            balances=balances,
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
        """Return the indices, within the split, of the images in the batch for that key."""
        return [int(index) for index in self._epochs.indices(epoch, number)]

    def _table(self, epoch: int, number: int) -> EpochTable[Array]:
        """Return the epoch's table.

        The side of images that are not in memory is known only after the first image of a batch was read.
        """
        if self._held is None or self._held[0] != epoch:
            if self._side is None:
                first_bchw, _ = self._images.read(torch.from_numpy(self._epochs.indices(epoch, number)[:1]))
                self._side = _side(first_bchw)
            self._held = (epoch, self._epochs.table(epoch, side=self._side))
        return self._held[1]

    def _transformed(self, its: Transforms[Array]) -> tuple[Floats, Indices]:
        """Return the images that can be read, transformed, and their positions among the rows."""
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
            # an image whose partner cannot be read is mixed with itself, so it does not change
            some_bchw, partners_bchw = partners_bchw, images_bchw.copy()
            partners_bchw[kept] = some_bchw
            probability_b2 = np.full_like(probability_b2, (1, 0))
            probability_b2[kept] = how.probability_v2[kept]
        images_bchw = mix(images_bchw, partners_bchw, how)
        targets_bk = soft_targets(label_b, how.partners.label_v, probability_b2, num_classes=self._num_classes)
        return torch.from_numpy(images_bchw), torch.from_numpy(targets_bk)


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
    balances: bool = False,
) -> DataLoader[Batch]:
    """Return a loader of training batches. See `TrainBatches` for the batches and `BatchNumbers` for how to resume.

    Args:
        images: The training set.
        augment: The augmentation.
        num_classes: K.
        batch_size: Images in a batch on each device.
        seed: The run's seed.
        num_workers: Processes that prepare batches; changes the speed, never a batch.
        pin_memory: True for a GPU; changes the speed, never a batch.
        rank: The device's number.
        world_size: The number of devices.
        resident_on: A device on which to store the images and make the batches, without workers; see `ResidentBatches`.
        subset: Which images are visited; None for all.
        balances: True to visit every class equally often (`balanced.standing`).

    Raises:
        UsageError: Images are to be mixed and there is only one.
        ValueError: `resident_on` does not support the images or the augmentation.
    """
    tell_again()
    if augment.mix != "none" and len(images) < 2:
        draw(augment, len(images), seed=seed, epoch=0)  # refuses here, not at the first batch
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
            balances=balances,
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
        balances=balances,
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
    """Return a loader of validation or test batches; see `EvalBatches`.

    Args:
        images: The split.
        batch_size: Images in a batch on each device.
        num_workers: Processes that prepare batches.
        pin_memory: True for a GPU.
        rank: The device's number.
        world_size: The number of devices.
        with_indices: True for a third member of each batch: the images' indices in the split, int64 (B,).

    Raises:
        UsageError: There are too few images for the devices.
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
        collate_fn=hand_over,  # the batch is finished: torch's default would only turn the tuple into a list
        worker_init_fn=workers.follow_parent,
        # forked workers share the images in memory; Python 3.14's default would send each worker a copy
        multiprocessing_context="fork" if num_workers and sys.platform == "linux" else None,
        pin_memory=pin_memory,
        # a loader draws a seed for its workers at every iteration: from this generator, not from the model's global one
        generator=torch.Generator().manual_seed(0),
    )
