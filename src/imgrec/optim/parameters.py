"""Sort a network's parameters into the optimizer's groups."""

from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

# _NormBase: batch and instance normalisations of every dimension
_NORMS: tuple[type[nn.Module], ...] = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def groups(module: nn.Module, *, decay_norm_and_bias: bool, weight_decay: float) -> list[dict[str, Any]]:
    """Return parameter groups of everything that trains, in the module's own order.

    There is one group, or without decay_norm_and_bias two: the second, of biases and of normalisation layers, has a
    weight decay of 0 (He et al. 2019, "Bag of tricks", section 3.1). Frozen parameters and empty groups are left out.

    Raises:
        ValueError: Nothing trains.
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
    """Return `groups`, with every weight matrix and convolution filter in a group for Muon.

    AdamW gets the rest at rate adamw_lr: biases, normalisation layers, and the module's last linear layer, whose weight
    maps to classes, and what is no layer's weight, such as a transformer's positions. Jordan et al. 2024 use AdamW for
    scalars, vectors, the input and the output layer. Here Muon also gets the input layer, as its filters are few and
    small.

    Raises:
        ValueError: Nothing trains.
    """
    roles = _roles(module)
    spare = set() if decay_norm_and_bias else {"minor"}
    return _filled(
        [
            {"params": _with_roles(roles, {"hidden"}), "weight_decay": weight_decay, "rule": "muon"},
            {
                "params": _with_roles(roles, {"head", "minor"} - spare),
                "weight_decay": weight_decay,
                "rule": "adamw",
                "lr": adamw_lr,
            },
            {"params": _with_roles(roles, spare), "weight_decay": 0.0, "rule": "adamw", "lr": adamw_lr},
        ]
    )


def muon_sgd_groups(
    module: nn.Module, *, bias_lr: float, head_lr: float, momentum: float, decay: float, decay_norm_and_bias: bool
) -> list[dict[str, Any]]:
    """Return groups with matrices and filters for Muon, and the last linear layer, biases and normalisations for SGD.

    Args:
        module: The network.
        bias_lr: The rate of biases and normalisations.
        head_lr: The rate of the last linear layer.
        momentum: SGD's momentum.
        decay: The share that a step at the peak rate subtracts from SGD's parameters, for any rate, before momentum,
            which multiplies it by 1 / (1 - momentum) in the long run (L2, not decoupled).
        decay_norm_and_bias: True to decay biases and normalisations too.

    Raises:
        ValueError: Nothing trains.
    """
    roles = _roles(module)
    rest = {"rule": "sgd", "momentum": momentum}
    minor_decay = decay / bias_lr if decay_norm_and_bias else 0.0
    return _filled(
        [
            {"params": _with_roles(roles, {"hidden"}), "weight_decay": 0.0, "rule": "muon"},
            {"params": _with_roles(roles, {"head"}), "lr": head_lr, "weight_decay": decay / head_lr, **rest},
            {"params": _with_roles(roles, {"minor"}), "lr": bias_lr, "weight_decay": minor_decay, **rest},
        ]
    )


def _roles(module: nn.Module) -> list[tuple[nn.Parameter, str]]:
    """Return everything that trains, in the module's order, with its role.

    The role is minor (biases, normalisations), head (the last linear layer's weight, and what is no layer's weight) or
    hidden.
    """
    linears = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    last = linears[-1] if linears else None
    roles = []
    for owner, name, parameter in _trainable(module):
        is_head = owner is last or parameter.ndim < 2 or not name.endswith("weight")
        role = "minor" if _is_norm_or_bias(owner, name) else "head" if is_head else "hidden"
        roles.append((parameter, role))
    return roles


def _with_roles(roles: list[tuple[nn.Parameter, str]], chosen: set[str]) -> list[nn.Parameter]:
    return [parameter for parameter, role in roles if role in chosen]


def _trainable(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    """Yield every parameter that requires a gradient, once, with the layer that owns it and its name in that layer."""
    seen: set[nn.Parameter] = set()
    for owner in module.modules():
        for name, parameter in owner.named_parameters(recurse=False):
            if parameter.requires_grad and parameter not in seen:
                seen.add(parameter)
                yield owner, name, parameter


def _is_norm_or_bias(owner: nn.Module, name: str) -> bool:
    # PyTorch's attention has an in_proj_bias, and that of Swin transformers a relative_position_bias_table
    return "bias" in name or isinstance(owner, _NORMS)


def _filled(candidates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the groups that contain parameters.

    Raises:
        ValueError: No group does.
    """
    filled = [group for group in candidates if group["params"]]
    if not filled:
        raise ValueError("an optimizer needs parameters that train, and every parameter of this network is frozen")
    return filled
