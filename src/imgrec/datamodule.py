"""Define the LightningDataModule: loaders of the splits, which continue at the right batch after an interruption."""

from functools import cached_property
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from imgrec.config.augment import Augment
from imgrec.config.data import Data
from imgrec.data.loader import BatchNumbers, TrainBatches, eval_loader, train_loader
from imgrec.data.pruning import Subset
from imgrec.data.resident import ResidentBatches
from imgrec.data.source import MemoryImages, Source
from imgrec.errors import RunError, UsageError
from imgrec.stored.position import RunPosition
from imgrec.stored.resume_state import DataState, KeptImages


class ImageData(lightning.LightningDataModule):
    """Loaders of training, validation and test batches: images (N, C, H, W) in [0, 1], and targets.

    Args:
        source: The images.
        data: The settings of the data axis.
        augment: The settings of the augment axis.
        seed: The seed, which with epoch and index determines order and augmentation.
        whole_epochs: The number of first epochs that visit all images, even if a resumed run had left some out.
        position: The run's position; the loaders begin at its start.
    """

    def __init__(
        self,
        *,
        source: Source,
        data: Data,
        augment: Augment,
        seed: int,
        whole_epochs: int = 0,
        position: RunPosition | None = None,
    ) -> None:
        super().__init__()
        self.source = source
        self._data = data
        self._augment = augment
        self._seed = seed
        self._whole_epochs = whole_epochs
        self._position = position or RunPosition()
        self._batches: TrainBatches | ResidentBatches | None = None

    @cached_property
    def _subset(self) -> Subset | None:
        return Subset(len(self.source.train)) if self._data.prune else None

    def train_dataloader(self) -> DataLoader[Any]:
        rank, world_size = self._place()
        loader = train_loader(
            self.source.train,
            augment=self._augment,
            num_classes=len(self.source.classes),
            batch_size=self._data.batch_size,
            seed=self._seed,
            num_workers=self._data.num_workers,
            pin_memory=self._feeds_gpu(),
            rank=rank,
            world_size=world_size,
            resident_on=self._resident_on(),
            subset=self._subset,
            balances=self._data.sampler == "balanced",
        )
        assert isinstance(loader.dataset, TrainBatches | ResidentBatches)
        self._batches = loader.dataset
        start = self._position.start
        # workers request their first batches at once, before Lightning sets the epoch
        sampler = loader.sampler
        assert isinstance(sampler, BatchNumbers)
        sampler.set_epoch(start.epoch)
        if start.batch < len(loader):
            sampler.start_at(start.batch)
        return loader

    def val_dataloader(self) -> DataLoader[Any]:
        if self.source.val is None:
            raise RunError("data.val_size=0 leaves no validation images; give data.val_size, or do not validate")
        rank, world_size = self._place()
        return eval_loader(
            self.source.val,
            batch_size=self._data.eval_batch_size,
            num_workers=self._data.num_workers,
            pin_memory=self._feeds_gpu(),
            rank=rank,
            world_size=world_size,
        )

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the loader of the test images, for a trainer of the user's own. A run's final reading opens them."""
        images = self.source.open_test()
        if images is None:
            raise RunError("data.test_size=0 leaves no test images; give data.test_size, or do not test")
        rank, world_size = self._place()
        return eval_loader(
            images,
            batch_size=self._data.eval_batch_size,
            num_workers=self._data.num_workers,
            pin_memory=self._feeds_gpu(),
            rank=rank,
            world_size=world_size,
        )

    def indices(self, epoch: int, batch: int) -> list[int]:
        """Return the indices of the training images in this process' batch."""
        assert self._batches is not None, "training has begun"
        return self._batches.indices(epoch, batch)

    def training_images(self, epoch: int, batch: int) -> Tensor:
        """Return the images of this process' training batch (N, C, H, W), as the epoch shows them, in [0, 1]."""
        assert self._batches is not None, "training has begun"
        images_nchw: Tensor = self._batches[epoch, batch][0]
        return images_nchw

    @property
    def pruned(self) -> bool:
        """True if some training images are left out now."""
        return self._subset is not None and self._subset.since is not None

    def keep(self, kept_n: Tensor, *, since: int) -> None:
        """Train only on these images. For data.prune > 0.

        Args:
            kept_n: True for each image to keep, bool (N,).
            since: The first epoch with these images only.
        """
        assert self._subset is not None, "data.prune makes a subset"
        self._subset.keep(kept_n, since=since)

    def state_dict(self) -> dict[str, Any]:
        left = None
        if self._subset is not None and self._subset.since is not None:
            left = KeptImages(kept_n=self._subset.kept_n, since=self._subset.since, share=self._data.prune)
        return DataState(position=self._position.saved, subset=left).to_plain()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore which images are left out.

        If data.prune has changed, or the position is in the epochs that visit all images, they are chosen again later.
        """
        stored = DataState.from_plain(state_dict)
        chosen = stored.subset
        if chosen and chosen.share == self._data.prune and stored.position.epoch >= self._whole_epochs:
            self.keep(chosen.kept_n, since=chosen.since)

    def _feeds_gpu(self) -> bool:
        return self._device().type == "cuda"

    def _resident_on(self) -> torch.device | None:
        """Return the device that stores the training images and makes their batches; None if there is none."""
        if self._data.resident == "auto":
            possible = isinstance(self.source.train, MemoryImages) and self._augment.policy == "none"
            return self._device() if possible and self._feeds_gpu() else None
        return self._device() if self._data.resident == "true" else None

    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    def _place(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        if self.trainer.world_size > 1 and self.trainer._accelerator_connector.use_distributed_sampler:
            raise UsageError(
                "the loaders divide the images among the devices themselves: give lightning.Trainer"
                " use_distributed_sampler=False, or Lightning divides them once more"
            )
        return self.trainer.global_rank, self.trainer.world_size
