"""Resize images progressively: small images first, which cost less and teach coarse features as well."""

# B images of a batch, C channels, S the image's side

from bisect import bisect_right

import torch.nn.functional as F
from torch import Tensor

from imgrec.config.augment import Augment


def side_at(cfg: Augment, progress: float) -> int | None:
    """Return the side to train at after this share of the training, in [0, 1); None for the images' own side."""
    stage = bisect_right(cfg.sizes_until, progress)
    return cfg.sizes[stage] if stage < len(cfg.sizes) else None


def resized(images_bchw: Tensor, side: int | None) -> Tensor:
    """Scale images (B, C, S, S) in [0, 1] to (B, C, side, side), by antialiased bilinear interpolation."""
    if side is None or side == images_bchw.shape[-1]:
        return images_bchw
    return F.interpolate(images_bchw, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
