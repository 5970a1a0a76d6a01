"""Turn what a program gives as images, paths or pixels, into the pixels of a network."""

# N images, C channels, H rows, W columns

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from imgrec.data.decode import decode
from imgrec.data.source import ReadError
from imgrec.errors import StrPath, UsageError

Given = StrPath | Sequence[StrPath] | NDArray[Any] | Tensor
"""Image files, or pixels (N, C, H, W) or (N, H, W, C), uint8 or floats in [0, 1]."""


def pixels(images: Given, *, size: int, channels: int, at_a_time: int) -> Iterator[Tensor]:
    """Yield images as float32 (N, C, size, size) in [0, 1], at most `at_a_time` of them.

    Args:
        images: The images.
        size: The side that the network takes.
        channels: The channels C that it takes. Files are read as RGB, and for C = 1 turned to grey (ITU-R 601-2).
        at_a_time: The number of images at a time.

    Raises:
        UsageError: These are no images of that kind.
        ReadError: A file cannot be read.
    """
    if isinstance(images, (str, os.PathLike)):
        images = [images]
    if isinstance(images, (Tensor, np.ndarray)):
        whole = _ordered(torch.as_tensor(images), size=size, channels=channels)
        for start in range(0, len(whole), at_a_time):
            yield _to_unit(whole[start : start + at_a_time])
        return
    if not isinstance(images, Sequence) or not all(isinstance(each, (str, os.PathLike)) for each in images):
        kind = "a sequence of something else" if isinstance(images, Sequence) else type(images).__name__
        raise UsageError(f"images must be paths, a NumPy array or a tensor, got {kind}; numpy.stack joins arrays")
    for start in range(0, len(images), at_a_time):
        read = [_read(Path(path), size, channels) for path in images[start : start + at_a_time]]
        yield _to_unit(torch.from_numpy(np.stack(read)).permute(0, 3, 1, 2))


def _read(path: Path, size: int, channels: int) -> NDArray[np.uint8]:
    """Return an image file as uint8 (size, size, C)."""
    if not path.exists():
        raise ReadError(f"{str(path)!r}: must be an image, and there is nothing; check the path")
    rgb = decode(path, size, else_=", or leave it out")
    return rgb if channels == 3 else np.asarray(Image.fromarray(rgb).convert("L"))[:, :, None]


def _ordered(given: Tensor, *, size: int, channels: int) -> Tensor:
    """Return pixels as (N, C, H, W).

    Raises:
        UsageError: They have another shape.
    """
    shape = tuple(given.shape)
    for wanted, axes in (
        ((channels, size, size), None),
        ((size, size, channels), (0, 3, 1, 2)),
        ((size, size) if channels == 1 else (), (0, 1, 2)),
    ):
        if not wanted or shape[-len(wanted) :] != wanted or given.ndim - len(wanted) not in (0, 1):
            continue
        whole = given if given.ndim > len(wanted) else given[None]
        return whole[:, None] if len(wanted) == 2 else whole if axes is None else whole.permute(axes)
    raise UsageError(
        f"images must have the shape (N, {channels}, {size}, {size}) or (N, {size}, {size}, {channels}), as those that"
        f" the network was trained on, got {shape}; resize them, or give the paths of files, which are resized"
    )


def _to_unit(images_nchw: Tensor) -> Tensor:
    """Return pixels as float32 in [0, 1].

    Raises:
        UsageError: They are no pixels.
    """
    if images_nchw.dtype == torch.uint8:
        return images_nchw.float() / 255
    if not images_nchw.is_floating_point():
        raise UsageError(f"images must be uint8, or floats in [0, 1], got {images_nchw.dtype}; convert them to uint8")
    low, high = (float(images_nchw.min()), float(images_nchw.max())) if images_nchw.numel() else (0.0, 0.0)
    if not (low >= 0 and high <= 1):  # NaN is neither
        raise UsageError(
            f"images must be uint8, or floats in [0, 1], got floats from {low:g} to {high:g}; the network normalises"
            " pixels itself"
        )
    return images_nchw.float()
