"""Which parameters an optimizer gets, and in which group."""

from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

# _NormBase: batch and instance normalisations of every dimension
_NORMS: tuple[type[nn.Module], ...] = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def groups(module: nn.Module, *, decay_norm_and_bias: bool, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups of everything that trains, in the module's own order.

    One group, or without decay_norm_and_bias two: the second, of biases and of normalisation layers, has a weight
    decay of 0 (He et al. 2019, "Bag of tricks", section 3.1). Frozen parameters are left out; empty groups too.
    Raises ValueError if nothing trains.
    """
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for owner, name, parameter in trainable(module):
        spare = not decay_norm_and_bias and is_norm_or_bias(owner, name)
        (spared if spare else decayed).append(parameter)
    return some(
        [
            {"params": decayed, "weight_decay": weight_decay},
            {"params": spared, "weight_decay": 0.0},
        ]
    )


def trainable(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    """Every parameter that requires a gradient, once, with the layer that owns it and its name there."""
    seen: set[nn.Parameter] = set()
    for owner in module.modules():
        for name, parameter in owner.named_parameters(recurse=False):
            if parameter.requires_grad and parameter not in seen:
                seen.add(parameter)
                yield owner, name, parameter


def is_norm_or_bias(owner: nn.Module, name: str) -> bool:
    return name == "bias" or isinstance(owner, _NORMS)


def some(candidates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The groups that hold parameters; ValueError if none does."""
    filled = [group for group in candidates if group["params"]]
    if not filled:
        raise ValueError("an optimizer needs parameters that train, and every parameter of this network is frozen")
    return filled
