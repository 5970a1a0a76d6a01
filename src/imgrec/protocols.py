"""Compute the logits that a network is scored by, as pure functions of the network and a batch.

N images, K classes, C channels, H rows, W columns; M training images, D features. Images are float in [0, 1].
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

log = logging.getLogger(__name__)

_LEAST = torch.finfo(torch.float32).tiny


class Forward(Protocol):
    """The network that a protocol measures."""

    def __call__(self, images_nchw: Tensor, /) -> Tensor:
        """Return the logits (N, K) of images, in float32."""

    def features(self, images_nchw: Tensor, /) -> Tensor:
        """Return what enters the layer that gives the classes, (N, D), in float32."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """The training images, without augmentation, as a network sees them.

    Attributes:
        features_md: Their features (M, D), float32, on the CPU.
        targets_m: Their classes.
        classes: The number of classes K.
    """

    features_md: Tensor
    targets_m: Tensor
    classes: int


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


def knn(network: Forward, batch: Batch, *, known: Known, k: int, temperature: float) -> Mapping[str, Tensor]:
    """Return the logarithms of the nearest training images' votes (Wu et al. 2018, arXiv 1805.01978, section 3.4).

    Nearness is the cosine of the features. Each of the k nearest training images votes for its class with the weight
    exp(cosine / temperature). The votes are shares, so that the softmax of the result is them.

    Args:
        network: The network.
        batch: The images.
        known: The training images.
        k: The number of nearest images; all of them if there are fewer.
        temperature: Greater than 0.
    """
    known_md = F.normalize(known.features_md, dim=1)
    cosines_nm = F.normalize(network.features(batch.images_nchw).cpu(), dim=1) @ known_md.T
    cosines_nk, nearest_nk = cosines_nm.topk(min(k, len(known_md)), dim=1)
    shares_nk = (cosines_nk / temperature).softmax(dim=1)
    votes_nk = torch.zeros(len(shares_nk), known.classes).scatter_add_(1, known.targets_m[nearest_nk], shares_nk)
    return {"": _logarithms(votes_nk)}


def linear_probe(known: Known, *, l2: float, max_iter: int) -> "Linear":
    """Fit a linear classifier of the features (Alain & Bengio 2017, arXiv 1610.01644).

    It is multinomial logistic regression of standardised features: it minimises the sum of the losses plus l2 / 2 times
    the squared norm of the weights, by scikit-learn's L-BFGS, which begins at 0.

    Args:
        known: The training images.
        l2: Greater than 0.
        max_iter: The most iterations. A fit that has not converged by then is told of in a warning.
    """
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(known.features_md.double().numpy())
    present = known.targets_m.bincount().nonzero().squeeze(1)
    if len(present) == 1:  # of a trial of few images: there is nothing to tell apart
        return Linear(scaler=scaler, fitted=None, present=present, classes=known.classes)
    fitted = LogisticRegression(C=1 / l2, max_iter=max_iter)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted.fit(scaler.transform(known.features_md.double().numpy()), known.targets_m.numpy())
    if fitted.n_iter_.max() >= max_iter:
        log.warning(
            "the linear probe has not converged after %d iterations; give protocol.linear_probe.max_iter=%d",
            *(max_iter, 10 * max_iter),
        )
    return Linear(scaler=scaler, fitted=fitted, present=present, classes=known.classes)


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A fitted linear classifier of features.

    Attributes:
        scaler: Standardises features.
        fitted: The classifier; None for a single class.
        present: The classes that the training images have, rising.
        classes: The number of classes K.
    """

    scaler: Any
    fitted: Any
    present: Tensor
    classes: int

    def __call__(self, network: Forward, batch: Batch) -> Mapping[str, Tensor]:
        """Return the logarithms of the classifier's probabilities."""
        features_nd = self.scaler.transform(network.features(batch.images_nchw).cpu().double().numpy())
        shares_nk = torch.zeros(len(features_nd), self.classes)
        found = np.ones((len(features_nd), 1)) if self.fitted is None else self.fitted.predict_proba(features_nd)
        shares_nk[:, self.present] = torch.from_numpy(found).float()
        return {"": _logarithms(shares_nk)}


def _logarithms(shares_nk: Tensor) -> Tensor:
    """Return logits whose softmax are these shares; a share of 0 counts as the least normal float32."""
    return shares_nk.clamp(min=_LEAST).log()


def _both_ways(network: Forward, images_nchw: Tensor) -> Tensor:
    return (network(images_nchw) + network(images_nchw.flip(-1))) / 2
