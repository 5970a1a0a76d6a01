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
    """`groups`, with every weight matrix and convolution filter set apart for Muon.

    The rest, at rate adamw_lr, is AdamW's: biases, normalisation layers, and the module's last linear layer, whose
    weight maps to classes. Jordan et al. 2024 give scalars, vectors, the input and the output layer to AdamW; here the
    input layer is Muon's too, as its filters are few and small. Raises ValueError if nothing trains.
    """
    roles = _roles(module)
    spare = set() if decay_norm_and_bias else {"minor"}
    return _filled(
        [
            {"params": _of(roles, {"hidden"}), "weight_decay": weight_decay, "rule": "muon"},
            {
                "params": _of(roles, {"head", "minor"} - spare),
                "weight_decay": weight_decay,
                "rule": "adamw",
                "lr": adamw_lr,
            },
            {"params": _of(roles, spare), "weight_decay": 0.0, "rule": "adamw", "lr": adamw_lr},
        ]
    )


def muon_sgd_groups(
    module: nn.Module, *, bias_lr: float, head_lr: float, momentum: float, decay: float, decay_norm_and_bias: bool
) -> list[dict[str, Any]]:
    """Weight matrices and filters for Muon; the last linear layer, and biases and normalisations, for SGD.

    decay: what a step at the peak rate takes away of SGD's parameters, whatever their rate, before momentum, which
    makes it 1 / (1 - momentum) as much in the long run (L2, not decoupled).
    Raises ValueError if nothing trains.
    """
    roles = _roles(module)
    rest = {"rule": "sgd", "momentum": momentum}
    minor_decay = decay / bias_lr if decay_norm_and_bias else 0.0
    return _filled(
        [
            {"params": _of(roles, {"hidden"}), "weight_decay": 0.0, "rule": "muon"},
            {"params": _of(roles, {"head"}), "lr": head_lr, "weight_decay": decay / head_lr, **rest},
            {"params": _of(roles, {"minor"}), "lr": bias_lr, "weight_decay": minor_decay, **rest},
        ]
    )


def _roles(module: nn.Module) -> list[tuple[nn.Parameter, str]]:
    """What trains, in the module's order: minor (biases, normalisations), head (the last linear's weight), hidden."""
    linears = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    last = linears[-1] if linears else None
    roles = []
    for owner, name, parameter in _trainable(module):
        is_head = owner is last or parameter.ndim < 2
        role = "minor" if _is_norm_or_bias(owner, name) else "head" if is_head else "hidden"
        roles.append((parameter, role))
    return roles


def _of(roles: list[tuple[nn.Parameter, str]], chosen: set[str]) -> list[nn.Parameter]:
    return [parameter for parameter, role in roles if role in chosen]


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
