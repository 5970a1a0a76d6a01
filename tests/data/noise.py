"""What several tests of augmentation draw."""

import numpy as np

from imgrec.config.augment import Augment

EVERYTHING = Augment(
    name="all", policy="randaugment", crop_padding=4, flip=True, brightness=0.1, cutout_size=16, mix="cutmix"
)


def noise(count: int, side: int = 32) -> np.ndarray:
    """Random pixels, the same for the same arguments: uint8 (count, 3, side, side)."""
    return np.random.default_rng(0).integers(0, 256, (count, 3, side, side), dtype=np.uint8)
