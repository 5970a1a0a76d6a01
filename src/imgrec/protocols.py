"""Compute the logits that a network is scored by, as pure functions of the network and a batch.

N images, K classes, C channels, H rows, W columns. Images are float in [0, 1].
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The input of a protocol.

    Attributes:
        images_nchw: Images in [0, 1].
        targets_n: True classes.
        indices_n: The images' positions in the split.
    """

    images_nchw: Tensor
    targets_n: Tensor
    indices_n: Tensor


def clean(network: Forward, batch: Batch) -> Mapping[str, Tensor]:
    """Return the logits of the images as they are."""
    return {"": network(batch.images_nchw)}


def tta_flip(network: Forward, batch: Batch) -> Mapping[str, Tensor]:
    """Return the mean of the logits of each image and its mirror image."""
    return {"": _both_ways(network, batch.images_nchw)}


def tta_flip_shift(network: Forward, batch: Batch) -> Mapping[str, Tensor]:
    """Return the mean logits of six views: mirrored or not; in place (half of the weight), and shifted by a pixel.

    The shifts are along the diagonal. This is the test-time augmentation of Jordan 2024 ("94% on CIFAR-10 in 3.29
    seconds on a single GPU", section 3.5), with reflected borders.
    """
    images_nchw = batch.images_nchw
    height, width = images_nchw.shape[-2:]
    padded = F.pad(images_nchw, (1, 1, 1, 1), mode="reflect")
    up_left = _both_ways(network, padded[:, :, :height, :width])
    down_right = _both_ways(network, padded[:, :, 2:, 2:])
    return {"": _both_ways(network, images_nchw) / 2 + (up_left + down_right) / 4}


def gaussian_noise(network: Forward, batch: Batch, *, sigmas: Sequence[float], seed: int) -> Mapping[str, Tensor]:
    """Return the logits of images with Gaussian noise, clipped to [0, 1] (Hendrycks & Dietterich 2019).

    There is one row for each deviation. An image's noise depends only on the seed and the image's position in the
    split, so that the scores are independent of the batch size. All deviations scale the same draw.

    Args:
        network: Maps images to logits (N, K).
        batch: The images.
        sigmas: Standard deviations, in shares of the pixel range.
        seed: The seed of the noise.
    """
    shape = tuple(batch.images_nchw.shape[1:])
    draws = [np.random.default_rng([seed, int(index)]).standard_normal(shape, np.float32) for index in batch.indices_n]
    noise_nchw = torch.from_numpy(np.stack(draws)).to(batch.images_nchw)
    return {f"{sigma:g}": network((batch.images_nchw + sigma * noise_nchw).clamp(0, 1)) for sigma in sigmas}


def _both_ways(network: Forward, images_nchw: Tensor) -> Tensor:
    return (network(images_nchw) + network(images_nchw.flip(-1))) / 2
