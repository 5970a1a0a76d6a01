"""Images kept with their border, so that a batch of crops is one copy."""

# N images of the set, B of them in a batch, C channels, H rows, W columns

import numpy as np
from numpy.typing import NDArray

from imgrec.config.augment import Augment
from imgrec.data.augment import Pixels, padded, windows
from imgrec.data.source import Images, MemoryImages

_WIDEST = 6  # a border of a sixth of the side makes 1.8 times the bytes


class PaddedImages:
    """A set in memory, each image surrounded by `padding` pixels, black or reflected, in bytes of its own.

    Raises ValueError for a reflected border of as many pixels as the images have.
    """

    def __init__(self, images: MemoryImages, *, padding: int, border: str) -> None:
        self._side = (images.images_nchw.shape[2], images.images_nchw.shape[3])
        self._padded_nchw = padded(images.images_nchw.numpy(), padding=padding, border=border)

    def cropped(self, indices: NDArray[np.int64], shift_b2: NDArray[np.int64]) -> Pixels:
        """Cut the images (B,) out of their padded form at row and column `shift_b2`: uint8 (B,C,H,W), the caller's."""
        return windows(self._padded_nchw, self._side)[indices, shift_b2[:, 0], shift_b2[:, 1]]


def pad(images: Images, cfg: Augment) -> PaddedImages | None:
    """Padded images where batches can be cut from them: cropped, in memory, and by no policy changed before.

    None also for borders that would more than double the bytes: there each batch is surrounded anew.
    """
    if not cfg.crop_padding or cfg.policy != "none" or not isinstance(images, MemoryImages):
        return None
    if _WIDEST * cfg.crop_padding > min(images.images_nchw.shape[2:]):
        return None
    return PaddedImages(images, padding=cfg.crop_padding, border=cfg.crop_border)
