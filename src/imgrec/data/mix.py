"""Two images and their targets become one: mixup and CutMix."""

# B images in a batch, K classes, C channels, H rows, W columns

import numpy as np
from numpy.typing import NDArray

from imgrec.data.augment import Floats, box_mask


def mixup(images_bchw: Floats, partners_bchw: Floats, share_b: NDArray[np.float64]) -> Floats:
    """Blend every pixel (Zhang et al. 2018, equation 1): share x image + (1 - share) x partner."""
    share_b111 = share_b.astype(np.float32)[:, None, None, None]
    mixed: Floats = images_bchw * share_b111
    mixed += partners_bchw * (1 - share_b111)
    return mixed


def cutmix(
    images_bchw: Floats, partners_bchw: Floats, share_b: NDArray[np.float64], box_b2: NDArray[np.float64]
) -> tuple[Floats, NDArray[np.float64]]:
    """Paste a box of the partner into each image (Yun et al. 2019, section 3.1).

    share_b: the area that the image is meant to keep; the box's sides are sqrt(1 - share) of the image's.
    box_b2: the box's centre; a box that hangs over the border is cut off there.
    Returns the images and the shares (B,) of their area that they really keep, which is what the targets must say.
    """
    h, w = images_bchw.shape[2:]
    size_b2 = (np.sqrt(1 - share_b)[:, None] * np.array([h, w])).astype(np.int64)
    inside_b1hw = box_mask(box_b2, size_b2, side=(h, w))
    kept_b = 1 - inside_b1hw.sum(axis=(1, 2, 3)) / (h * w)
    return np.where(inside_b1hw, partners_bchw, images_bchw), kept_b


def soft_targets(
    labels_b: NDArray[np.int64], partners_b: NDArray[np.int64], share_b: NDArray[np.float64], *, num_classes: int
) -> Floats:
    """Class probabilities, float32 (B,K): `share` for the image's own class, the rest for its partner's."""
    targets_bk = np.zeros((len(labels_b), num_classes), np.float32)
    rows_b = np.arange(len(labels_b))
    np.add.at(targets_bk, (rows_b, labels_b), share_b)
    np.add.at(targets_bk, (rows_b, partners_b), 1 - share_b)
    return targets_bk
