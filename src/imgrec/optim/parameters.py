"""Sort a network's parameters into the optimizer's groups."""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer

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


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How a parameter is treated beside what its group says.

    Attributes:
        scale: The factor of its rate.
        is_later: True if it begins to train later than others.
    """

    scale: float = 1.0
    is_later: bool = False


def kinds(
    module: nn.Module,
    *,
    depths: Mapping[str, int],
    layer_decay: float,
    scaled: Mapping[str, float],
    later: Container[str],
) -> dict[nn.Parameter, Kind]:
    """Return the kind of each parameter.

    A parameter of depth d has layer_decay ** (D - d) times the rate of its group, where D is the depth of the head (Bao
    et al. 2022, "BEiT", optim_factory.py; timm's `param_groups_layer_decay`).

    Args:
        module: The network.
        depths: The depth of each parameter by its name; may be empty with a layer_decay of 1.
        layer_decay: In (0, 1].
        scaled: Further factors by name.
        later: The names of the parameters that begin to train later.
    """
    most = max(depths.values(), default=0)
    return {
        parameter: Kind(
            scale=layer_decay ** (most - depths.get(name, most)) * scaled.get(name, 1.0), is_later=name in later
        )
        for name, parameter in module.named_parameters()
    }


def regroup(optimizer: Optimizer, kinds: Mapping[nn.Parameter, Kind]) -> None:
    """Split each group of an optimizer by kinds of parameters, and scale the rates. Other settings stay.

    So every optimizer has rates by layers, whatever its own groups are. `lr_scale` keeps a group's factor.

    Args:
        optimizer: The optimizer, before its first step.
        kinds: The kind of each parameter.
    """
    groups: list[dict[str, Any]] = []
    for group in optimizer.param_groups:
        by_kind: dict[Kind, list[nn.Parameter]] = {}
        for parameter in group["params"]:
            by_kind.setdefault(kinds[parameter], []).append(parameter)
        groups += [
            {**group, "params": parameters, "lr": group["lr"] * kind.scale, "lr_scale": kind.scale}
            for kind, parameters in by_kind.items()
        ]
    optimizer.param_groups[:] = groups


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
