"""Define what a data set provides: images that are read by index, and facts about them."""

# N images of the set, B of them in a batch, C channels, H rows, W columns

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from imgrec.errors import RunError

_CHUNK = 256  # images read at a time for statistics: 0.6 GB at 512x512 as int64, little at 32x32
# smallest standard deviation of a channel: one grey level, so that a constant channel causes no division by 0
_FLAT = 1 / 255


class ReadError(RunError):
    """An image cannot be read. The sentence survives a DataLoader worker.

    Torch passes on a worker's exception by calling its class with the whole traceback as text. That text ends with the
    original sentence, which is what the reader needs, so the constructor keeps its last line.
    """

    def __init__(self, message: str) -> None:
        lines = message.strip().splitlines()
        own = f"{type(self).__module__}.{type(self).__qualname__}: "
        super().__init__(lines[-1].removeprefix(own) if lines else message)


class Images(Protocol):
    """Images with their labels, read by index."""

    labels: Tensor
    """int64 (N,), each in [0, number of classes)."""

    def __len__(self) -> int: ...

    def read(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Read images.

        Args:
            indices: int64 (B,), each in [0, N), with or without repetitions.

        Returns:
            Images, uint8 (R,C,H,W), contiguous and owned by the caller, and the positions in `indices` of the images
            that could be read, int64 (R,), rising. R < B only if unreadable images are to be left out
            (data.on_error=skip).

        Raises:
            ReadError: An image cannot be read; the sentence names the file.
        """
        ...


class MemoryImages:
    """Images in memory as uint8. DataLoader workers share them, as forked processes share memory pages."""

    def __init__(self, images_nchw: Tensor, labels: Tensor) -> None:
        if images_nchw.dtype != torch.uint8 or images_nchw.ndim != 4 or labels.shape != images_nchw.shape[:1]:
            raise ValueError(
                f"images must be uint8 (N,C,H,W) with labels (N,), got {images_nchw.dtype} "
                f"{tuple(images_nchw.shape)} with {tuple(labels.shape)}"
            )
        self.images_nchw = images_nchw.contiguous()
        self.labels = labels.to(torch.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        # NumPy's take copies one image after the other in this thread. At these sizes this is cheaper than waking
        # torch's threads, and on a busy machine far cheaper than waiting for them.
        images_bchw = np.take(self.images_nchw.numpy(), indices.numpy(), axis=0)
        return torch.from_numpy(images_bchw), torch.arange(len(indices))

    def take(self, places: Tensor, labels: Tensor) -> "MemoryImages":
        """See `taken`."""
        return MemoryImages(self.images_nchw[places], labels)


class Taken:
    """Some images of a set, with labels of their own.

    Args:
        images: The set.
        places: The indices of the images, int64 (M,).
        labels: Their labels, int64 (M,).
    """

    def __init__(self, images: Images, places: Tensor, labels: Tensor) -> None:
        self._images, self._places = images, places
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self._images.read(self._places[indices])


def taken(images: Images, places: Tensor, labels: Tensor) -> Images:
    """Return some images of a set, with other labels. Images in memory stay so, and a folder's know their files."""
    take: Callable[[Tensor, Tensor], Images] | None = getattr(images, "take", None)
    return Taken(images, places, labels) if take is None else take(places, labels)


class Few:
    """A limited number of images of a set, evenly spaced over it."""

    def __init__(self, images: Images, at_most: int) -> None:
        count = min(at_most, len(images))
        self._images = images
        self._indices_n = torch.arange(count) * len(images) // max(count, 1)
        self.labels = images.labels[self._indices_n]

    def __len__(self) -> int:
        return len(self._indices_n)

    def read(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self._images.read(self._indices_n[indices])


@dataclass(kw_only=True)
class Source:
    """A data set with its splits, and what the network needs to know about it."""

    name: str
    classes: tuple[str, ...]
    image_size: int
    channels: int
    train: Images
    val: Images | None
    open_test: Callable[[], Images | None]
    """Opens the test images.

    No other code does, and with test=false it is not called. Returns None without a test split.
    """
    mean: tuple[float, ...]
    """The mean of pixels in [0,1], one value for each channel."""
    std: tuple[float, ...]
    """The standard deviation of pixels in [0,1], one value > 0 for each channel."""
    changed_labels: int = 0
    """How many training images have a wrong label, as data.label_noise asks."""


def channel_statistics(images: Images, *, at_most: int | None = None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and (population) standard deviation of each channel, for pixels in [0,1].

    The sums are of integers, so the result is the same in any order and on any machine.

    Args:
        images: The images.
        at_most: The largest number of images to read, evenly spaced over the set; None for all.
    """
    count = len(images) if at_most is None else min(at_most, len(images))
    indices = torch.from_numpy(np.arange(count, dtype=np.int64) * len(images) // max(count, 1))
    pixels = 0
    total_c: np.ndarray = np.zeros(0, np.int64)
    squares_c: np.ndarray = np.zeros(0, np.int64)
    for start in range(0, count, _CHUNK):
        images_bchw, _ = images.read(indices[start : start + _CHUNK])
        if not len(images_bchw):
            continue
        values_bchw = images_bchw.numpy().astype(np.int64)
        if not pixels:
            total_c = squares_c = np.zeros(values_bchw.shape[1], np.int64)
        total_c = total_c + values_bchw.sum(axis=(0, 2, 3))
        squares_c = squares_c + (values_bchw**2).sum(axis=(0, 2, 3))
        pixels += values_bchw[:, 0].size
    if not pixels:
        raise RunError("mean and std need at least 1 readable training image, got 0; check data.root")
    mean = [int(total) / pixels for total in total_c]
    variance = [max(int(square) / pixels - m * m, 0.0) for square, m in zip(squares_c, mean, strict=True)]
    return tuple(m / 255 for m in mean), tuple(max(v**0.5 / 255, _FLAT) for v in variance)
