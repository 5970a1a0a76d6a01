"""Draw images for several tests of augmentation, and augment them without a loader."""

import numpy as np

from imgrec.config.augment import Augment
from imgrec.data.augment import augment
from imgrec.data.augment_params import Draws
from imgrec.data.epoch_table import transforms

EVERYTHING = Augment(
    name="all", policy="randaugment", crop_padding=4, flip=True, brightness=0.1, cutout_size=16, mix="cutmix"
)


def noise(count: int, side: int = 32) -> np.ndarray:
    """Random pixels, the same for the same arguments: uint8 (count, 3, side, side)."""
    return np.random.default_rng(0).integers(0, 256, (count, 3, side, side), dtype=np.uint8)


def augmented(images: np.ndarray, draws: Draws, cfg: Augment) -> np.ndarray:
    """The images (B,C,H,W), row b of `draws` for image b."""
    count, labels = len(images), np.zeros(len(images), np.int64)
    return augment(images, transforms(cfg, draws, np.arange(count), labels, side=images.shape[2:]), cfg)
