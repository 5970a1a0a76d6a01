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
    for owner, name, parameter in _trainable(module):
        spare = not decay_norm_and_bias and _is_norm_or_bias(owner, name)
        (spared if spare else decayed).append(parameter)
    return _filled(
        [
            {"params": decayed, "weight_decay": weight_decay},
            {"params": spared, "weight_decay": 0.0},
        ]
    )


def muon_groups(
    module: nn.Module, *, adamw_lr: float, decay_norm_and_bias: bool, weight_decay: float
) -> list[dict[str, Any]]:
    """`groups`, with every weight matrix and convolution filter set apart for Muon (`muon` true).

    The rest, at rate adamw_lr, is AdamW's: biases, normalisation layers, and the module's last linear layer, whose
    weight maps to classes (Jordan et al. 2024: Muon is for hidden layers; "scalar and vector parameters" and the
    "final classifier head" go to AdamW). Raises ValueError if nothing trains.
    """
    linears = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    head = linears[-1] if linears else None
    hidden: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for owner, name, parameter in _trainable(module):
        minor = _is_norm_or_bias(owner, name)
        if not minor and owner is not head and parameter.ndim >= 2:
            hidden.append(parameter)
        else:
            (spared if minor and not decay_norm_and_bias else decayed).append(parameter)
    return _filled(
        [
            {"params": hidden, "weight_decay": weight_decay, "muon": True},
            {"params": decayed, "weight_decay": weight_decay, "muon": False, "lr": adamw_lr},
            {"params": spared, "weight_decay": 0.0, "muon": False, "lr": adamw_lr},
        ]
    )


def _trainable(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    """Every parameter that requires a gradient, once, with the layer that owns it and its name there."""
    seen: set[nn.Parameter] = set()
    for owner in module.modules():
        for name, parameter in owner.named_parameters(recurse=False):
            if parameter.requires_grad and parameter not in seen:
                seen.add(parameter)
                yield owner, name, parameter


def _is_norm_or_bias(owner: nn.Module, name: str) -> bool:
    return name == "bias" or isinstance(owner, _NORMS)


def _filled(candidates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The groups that hold parameters; ValueError if none does."""
    filled = [group for group in candidates if group["params"]]
    if not filled:
        raise ValueError("an optimizer needs parameters that train, and every parameter of this network is frozen")
    return filled
