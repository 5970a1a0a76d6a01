"""Make batches of validation and test images: unchanged, in their order, divided among devices."""

# B images in a batch

from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from imgrec.data.augment import to_unit
from imgrec.data.source import Images, ReadError
from imgrec.errors import UsageError


class EvalBatches(Dataset[Any]):
    """The finished batch for (any epoch, number): unchanged images in their order, each exactly once.

    Device `rank` takes the images rank, rank + world_size, ... Every device has the same number of batches, as devices
    would otherwise wait for each other forever. The sizes of batches differ by at most one.
    """

    def __init__(
        self, images: Images, *, batch_size: int, rank: int, world_size: int, with_indices: bool = False
    ) -> None:
        count = len(images)
        batches = -(-count // (world_size * batch_size))  # the number that the device with the most images needs
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
