"""Two images and their targets become one: mixup and CutMix."""

# B images in a batch, K classes, C channels, H rows, W columns

import numpy as np
from numpy.typing import NDArray

from imgrec.data.augment import Floats, between, box_edges


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
    side = (images_bchw.shape[2], images_bchw.shape[3])
    edges_b22, kept_b = cutmix_boxes(share_b, box_b2, side=side)
    return np.where(between(edges_b22, side=side), partners_bchw, images_bchw), kept_b


def cutmix_boxes(
    share_b: NDArray[np.float64], box_b2: NDArray[np.float64], *, side: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The boxes of `cutmix` in images of that side, (H,W): their `box_edges`, and the shares (B,) that images keep."""
    size_b2 = (np.sqrt(1 - share_b)[:, None] * np.array(side)).astype(np.int64)
    edges_b22 = box_edges(box_b2, size_b2, side=side)
    pasted_b = np.diff(edges_b22, axis=1).prod(axis=(1, 2))
    return edges_b22, 1 - pasted_b / (side[0] * side[1])


def soft_targets(
    labels_b: NDArray[np.int64], partners_b: NDArray[np.int64], share_b: NDArray[np.float64], *, num_classes: int
) -> Floats:
    """Class probabilities, float32 (B,K): `share` for the image's own class, the rest for its partner's."""
    targets_bk = np.zeros((len(labels_b), num_classes), np.float32)
    rows_b = np.arange(len(labels_b))
    np.add.at(targets_bk, (rows_b, labels_b), share_b)
    np.add.at(targets_bk, (rows_b, partners_b), 1 - share_b)
    return targets_bk
