"""Compute losses, as pure functions of logits and targets.

Every function takes logits (N, K) and a target: class indices (N,), int64, or class probabilities (N, K), float. An
index is equivalent to its one-hot row. The result is the mean over the batch, a scalar, or with reduction="none" the
loss of each image (N,). Half-precision logits are converted to float32. Any other reduction raises ValueError.
"""

# N images, K classes

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class LossFunction(Protocol):
    """A loss with the signature of the functions below."""

    def __call__(self, logits_nk: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
        """Return the mean over the batch, a scalar, or with reduction="none" the loss of each image (N,)."""
        ...


class DistilledLoss(Protocol):
    """A training loss that also takes the logits of a teacher."""

    def __call__(self, logits_nk: Tensor, teacher_nk: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
        """Return the mean over the batch, a scalar, or with reduction="none" the loss of each image (N,)."""
        ...


def cross_entropy(logits_nk: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Return the negative log-likelihood of the softmax: -sum_c p_c log q_c for target p and softmax q."""
    return F.cross_entropy(wide(logits_nk), target, reduction=_checked(reduction))


def label_smoothing(logits_nk: Tensor, target: Tensor, *, smoothing: float = 0.1, reduction: str = "mean") -> Tensor:
    """Return the cross-entropy against (1 - smoothing) p + smoothing / K (Szegedy et al. 2016, section 7).

    Args:
        logits_nk: (N, K).
        target: Indices or probabilities.
        smoothing: In [0, 1).
        reduction: mean or none.
    """
    return F.cross_entropy(wide(logits_nk), target, reduction=_checked(reduction), label_smoothing=smoothing)


def mse(
    logits_nk: Tensor, target: Tensor, *, true_weight: float = 1.0, true_value: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """Return the squared loss on the logits, mean over the classes (Hui & Belkin 2020, section 2).

    The rescaled form of the paper is, for true class c: 1/K (k (z_c - M)^2 + sum_{i != c} z_i^2), k = true_weight > 0,
    M = true_value > 0. For probabilities p both are interpolated: 1/K sum_i (1 + (k - 1) p_i) (z_i - M p_i)^2. At k = M
    = 1 this is the plain mean squared error against p.
    """
    logits_nk = wide(logits_nk)
    target_nk = probabilities(target, logits_nk)
    squares_nk = (logits_nk - true_value * target_nk).square()
    if true_weight != 1:
        squares_nk = squares_nk * (1 + (true_weight - 1) * target_nk)
    return reduced(squares_nk.mean(dim=1), reduction)


def brier(logits_nk: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Return the squared distance of softmax q and target p (Brier 1950, equation 2).

    It is sum_c (q_c - p_c)^2, in [0, 2].
    """
    logits_nk = wide(logits_nk)
    distance_nk = logits_nk.softmax(dim=1) - probabilities(target, logits_nk)
    return reduced(distance_nk.square().sum(dim=1), reduction)


def focal(logits_nk: Tensor, target: Tensor, *, gamma: float = 2.0, reduction: str = "mean") -> Tensor:
    """Return the cross-entropy weighted by (1 - q)^gamma (Lin et al. 2017, equation 4, for the softmax q).

    For probabilities p it is the expectation: -sum_c p_c (1 - q_c)^gamma log q_c.

    Args:
        logits_nk: (N, K).
        target: Indices or probabilities.
        gamma: >= 0; 0 is cross-entropy.
        reduction: mean or none.
    """
    log_q_nk = wide(logits_nk).log_softmax(dim=1)
    # the lower bound keeps the gradient of the power finite at q = 1, where the loss is flat
    rest_nk = (-log_q_nk.expm1()).clamp_min(torch.finfo(log_q_nk.dtype).tiny)
    losses_nk = rest_nk.pow(gamma) * log_q_nk
    return reduced(-(probabilities(target, log_q_nk) * losses_nk).sum(dim=1), reduction)


def distilled(
    logits_nk: Tensor,
    teacher_nk: Tensor,
    target: Tensor,
    *,
    temperature: float = 4.0,
    teacher_share: float = 0.9,
    reduction: str = "mean",
) -> Tensor:
    """Return cross-entropy with the target, mixed with the divergence from a teacher (Hinton et al. 2015, section 2).

    It is s T^2 KL(p || q) + (1 - s) CE for softmaxes p of the teacher's logits / T and q of the logits / T. T^2 keeps
    the gradient's size as T changes.

    Args:
        logits_nk: (N, K).
        teacher_nk: The teacher's logits (N, K), without a gradient.
        target: Indices or probabilities.
        temperature: T > 0.
        teacher_share: s in [0, 1].
        reduction: mean or none.
    """
    log_q_nk = (wide(logits_nk) / temperature).log_softmax(dim=1)
    log_p_nk = (wide(teacher_nk) / temperature).log_softmax(dim=1)
    divergence_n = F.kl_div(log_q_nk, log_p_nk, reduction="none", log_target=True).sum(dim=1) * temperature**2
    hard_n = cross_entropy(logits_nk, target, reduction="none")
    return reduced(teacher_share * divergence_n + (1 - teacher_share) * hard_n, reduction)


def hinge(logits_nk: Tensor, target: Tensor, *, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    """Return the multi-class hinge: max(0, margin + max_{j != y} z_j - z_y) (Crammer & Singer 2001, section 3).

    For probabilities p it is the expectation over y.

    Args:
        logits_nk: (N, K).
        target: Indices or probabilities.
        margin: > 0.
        reduction: mean or none.

    Raises:
        ValueError: There are fewer than 2 classes.
    """
    logits_nk = wide(logits_nk)
    if logits_nk.shape[1] < 2:
        raise ValueError(f"the hinge loss needs logits of at least 2 classes, got {logits_nk.shape[1]}")
    (best_n1, second_n1), best_class_n1 = _two_best(logits_nk)
    is_best_nk = torch.arange(logits_nk.shape[1], device=logits_nk.device) == best_class_n1
    rival_nk = torch.where(is_best_nk, second_n1, best_n1)  # max_{j != y} z_j, for every y at once
    losses_nk = (margin + rival_nk - logits_nk).clamp_min(0)
    return reduced((probabilities(target, logits_nk) * losses_nk).sum(dim=1), reduction)


def balanced_weights(labels_n: Tensor, num_classes: int) -> Tensor:
    """Return the weight of each class, N / (K N_k) for N_k images of class k: float32 (K,).

    Their mean over the images is 1 (King & Zeng 2001, section 4.2; scikit-learn's class_weight="balanced").

    Args:
        labels_n: The class of each training image.
        num_classes: K.

    Raises:
        ValueError: A class has no image.
    """
    images_k = labels_n.bincount(minlength=num_classes)
    if not images_k.all():
        raise ValueError(f"balanced weights need an image of every class, got none of class {int(images_k.argmin())}")
    return (len(labels_n) / (num_classes * images_k.double())).float()


def weighted_mean(losses_n: Tensor, target: Tensor, weights_k: Tensor) -> Tensor:
    """Return the mean over the batch of each image's loss times the weight of its class.

    The sum is divided by the number of images, not by the sum of their weights: so batches of any size and any number
    of devices give the same gradient on average. Class probabilities weigh as the mean over their classes.

    Args:
        losses_n: The loss of each image.
        target: Indices or probabilities.
        weights_k: The weight of each class.
    """
    weights_n = target.to(weights_k.dtype) @ weights_k if target.is_floating_point() else weights_k[target]
    return (losses_n * weights_n).mean()


def _two_best(logits_nk: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
    values_n2, classes_n2 = logits_nk.topk(2, dim=1)
    return (values_n2[:, :1], values_n2[:, 1:]), classes_n2[:, :1]


def wide(logits_nk: Tensor) -> Tensor:
    """Convert to at least float32: a square of 1e4 overflows float16, and bfloat16 has 8 bits of precision."""
    return logits_nk.float() if logits_nk.dtype in (torch.float16, torch.bfloat16) else logits_nk


def probabilities(target: Tensor, logits_nk: Tensor) -> Tensor:
    """Return the target as class probabilities (N, K), in the type of the logits."""
    if target.is_floating_point():
        return target.to(logits_nk.dtype)
    return torch.zeros_like(logits_nk).scatter_(1, target[:, None], 1.0)


def reduced(losses_n: Tensor, reduction: str) -> Tensor:
    return losses_n.mean() if _checked(reduction) == "mean" else losses_n


def _checked(reduction: str) -> str:
    if reduction not in ("mean", "none"):
        raise ValueError(f"reduction must be mean or none, got {reduction!r}")
    return reduction
