"""Perturb weights for sharpness-aware minimisation, SAM (Foret et al. 2021, arXiv 2010.01412, algorithm 1)."""

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_LEAST = 1e-12  # a gradient's norm, which divides


@contextlib.contextmanager
def perturbed(network: nn.Module, rho: float) -> Iterator[None]:
    """Move the weights by `rho` along their gradient in the block, to where the loss is about largest at that distance.

    In the block, batch normalisation uses the statistics of its batch and keeps none. Afterwards the weights have the
    bits that they had before. No value is read back from the device.

    Args:
        network: A network whose weights have gradients.
        rho: The distance, in the Euclidean norm of all weights together.
    """
    pairs = [(weight, weight.grad) for weight in network.parameters() if weight.grad is not None]
    weights: list[Tensor] = [weight for weight, _ in pairs]
    with torch.no_grad():
        gradients = [gradient for _, gradient in pairs]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        before = [weight.clone() for weight in weights]
        torch._foreach_add_(weights, list(torch._foreach_mul(gradients, rho / (norm + _LEAST))))
    try:
        with _statistics_kept(network.modules()):
            yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(weights, before)


@contextlib.contextmanager
def _statistics_kept(layers: Iterable[nn.Module]) -> Iterator[None]:
    tracking = [layer for layer in layers if isinstance(layer, _BatchNorm) and layer.track_running_stats]
    for layer in tracking:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in tracking:
            layer.track_running_stats = True
