"""Make a source of training images in memory, of which some are held out for validation."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from imgrec.data.source import Images, MemoryImages, Source, channel_statistics
from imgrec.data.split import Indices, validation

if TYPE_CHECKING:
    from imgrec.config.held_out import HeldOutData

Pixels = NDArray[np.uint8]


def memory_images(images_nchw: Pixels, labels_n: Indices) -> MemoryImages:
    """Return images in memory, from arrays: uint8 (N,C,H,W) and int64 (N,)."""
    # torch warns of arrays that nobody may write to, such as those of a pickle
    return MemoryImages(torch.from_numpy(np.require(images_nchw, requirements=("C", "W"))), torch.from_numpy(labels_n))


def held_out(
    cfg: "HeldOutData",
    images_nchw: Pixels,
    labels_n: Indices,
    *,
    classes: Sequence[str],
    seed: int,
    open_test: Callable[[], Images | None],
    balanced_n: Indices | None = None,
) -> Source:
    """Return the source of a data set whose validation images are taken from its training images.

    Mean and standard deviation are those of the training images that stay.

    Args:
        cfg: The configuration.
        images_nchw: The training images with those for validation; all are square.
        labels_n: Their labels.
        classes: The names of the classes.
        seed: Of the validation split, see `split.validation`.
        open_test: See `Source`.
        balanced_n: The labels whose shares the split keeps, if not `labels_n`.

    Raises:
        UsageError: A class would keep no training image, or have none in some fold.
    """
    kept, out = validation(cfg, labels_n if balanced_n is None else balanced_n, len(labels_n), seed=seed)
    train = memory_images(images_nchw[kept], labels_n[kept])
    mean, std = channel_statistics(train)
    return Source(
        name=cfg.name,
        classes=tuple(classes),
        image_size=images_nchw.shape[2],
        channels=images_nchw.shape[1],
        train=train,
        val=memory_images(images_nchw[out], labels_n[out]) if len(out) else None,
        open_test=open_test,
        mean=mean,
        std=std,
    )
