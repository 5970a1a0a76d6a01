"""Load scikit-learn's handwritten digits (Alpaydin & Kaynak 1998, UCI): real images that need no download."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from imgrec.data.source import MemoryImages, Source, channel_statistics
from imgrec.data.split import stratified, validation

if TYPE_CHECKING:
    from imgrec.components.data.digits import Digits

TEST_SIZE = 360
TEST_SEED, VAL_SEED = 11, 12  # seeds of the splits; constants, so that every run has the same splits
_SIDE, _SCALE = 8, 4  # 8x8 becomes 32x32


def load(cfg: "Digits") -> Source:
    """Load the 1 797 digits as 32x32x3: 360 for testing, `val_size` for validation, the others for training.

    The splits are stratified. The three channels are equal. Mean and standard deviation are those of the training
    split.
    """
    digits = load_digits()
    labels = digits.target.astype(np.int64)
    rest, test = stratified(labels, TEST_SIZE, seed=TEST_SEED, key="the test split of digits")
    kept, held_out = validation(cfg, labels[rest], len(rest), seed=VAL_SEED)
    images_nhw = upsample(digits.images.astype(np.int64))

    def subset(indices: NDArray[np.int64]) -> MemoryImages:
        images_nchw = np.repeat(images_nhw[indices, None], 3, axis=1)
        return MemoryImages(torch.from_numpy(images_nchw), torch.from_numpy(labels[indices]))

    train = subset(rest[kept])
    mean, std = channel_statistics(train)
    return Source(
        name=cfg.name,
        classes=tuple(str(digit) for digit in range(10)),
        image_size=_SIDE * _SCALE,
        channels=3,
        train=train,
        val=subset(rest[held_out]) if len(held_out) else None,
        open_test=lambda: subset(test),
        mean=mean,
        std=std,
    )


def upsample(values_nhw: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Scale values 0..16, (N,8,8), to pixels 0..255, (N,32,32), by bilinear interpolation.

    Pixel centres are aligned as in torch's `interpolate(align_corners=False)`, edges repeat, and halves round up. The
    arithmetic is in integers (the weights are eighths), so that every machine gets the same bytes.
    """
    fine = np.arange(_SIDE * _SCALE)
    eighths = 2 * fine + 1 - _SCALE  # 8 x the position of a fine pixel's centre on the coarse grid
    low, share = eighths // (2 * _SCALE), eighths % (2 * _SCALE)
    weights = np.zeros((len(fine), _SIDE), np.int64)
    np.add.at(weights, (fine, low.clip(0, _SIDE - 1)), 2 * _SCALE - share)
    np.add.at(weights, (fine, (low + 1).clip(0, _SIDE - 1)), share)
    sums_nhw = weights @ values_nhw @ weights.T  # 64 x the interpolated value, at most 64 x 16
    full = (2 * _SCALE) ** 2 * 16
    return ((2 * 255 * sums_nhw + full) // (2 * full)).astype(np.uint8)
