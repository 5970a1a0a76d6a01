"""Add to every optimizer what its formula does not say: safe fused kernels, and resuming with the present settings."""

from collections.abc import Collection, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from imgrec.errors import UsageError


def can_fuse(parameters: Iterable[Tensor]) -> bool:
    """Return True if PyTorch's fused kernels support all of these: floating point, on a CPU or a CUDA device.

    A fused step passes once over weights, gradients and state. With state it is 2 to 4 times as fast on a CPU.
    """
    return all(parameter.is_floating_point() and parameter.device.type in ("cpu", "cuda") for parameter in parameters)


def fused(groups: Iterable[dict[str, Any]]) -> bool | None:
    """Return PyTorch's `fused=` argument for these parameter groups.

    Returns:
        True if `can_fuse`, else None, which leaves the choice to PyTorch.
    """
    return True if can_fuse(parameter for group in groups for parameter in group["params"]) else None


def prepared(optimizer: Optimizer, *, counters: Collection[str] = ()) -> Optimizer:
    """Return the same optimizer, prepared for resuming, clipping and changes of memory layout.

    - A loaded state provides the moments and counters; the hyperparameters stay those of the present configuration.
    Past gradients are dropped where the momentum is now 0, so that a later momentum starts without them.
    - State tensors take the memory layout of their parameters, after loading and before the first step. Fused kernels
    read memory in order: a channels_last weight with contiguous moments would silently be updated wrongly.
    - Gradients may be clipped under automatic mixed precision, also with fused kernels.

    Args:
        optimizer: The optimizer. Its first step raises a UsageError if it changes a value in its groups that is not
            among the counters, as a resumed run would begin with another value.
        counters: The keys of values in its groups that its steps change.
    """
    optimizer.register_load_state_dict_pre_hook(partial(_keep_hyperparameters, counters=counters))
    optimizer.register_load_state_dict_post_hook(_lay_out_state)

    begun: list[dict[str, Any]] = []

    def before_first_step(
        optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        _lay_out_state(optimizer)
        before.remove()
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)

        def noting() -> Any:
            """Compute the gradient, while callbacks may change the groups, and note their values then."""
            found = None if closure is None else closure()
            begun[:] = [_plain(group) for group in optimizer.param_groups]
            return found

        if closure is None:
            noting()
            return args, kwargs
        return args[:1], {**kwargs, "closure": noting}

    def after_first_step(optimizer: Optimizer, *_: Any) -> None:
        _refuse_unknown_counters(optimizer, begun, counters)
        after.remove()

    before = optimizer.register_step_pre_hook(before_first_step)
    after = optimizer.register_step_post_hook(after_first_step)
    # The flag says that step() unscales gradients, so the scaler does not do it before, and Lightning refuses to clip.
    # With the flag cleared, the scaler unscales first, as for any optimizer without fused kernels.
    setattr(optimizer, "_step_supports_amp_scaling", False)  # noqa: B010 (no public way, and mypy knows no such name)
    return optimizer


def _plain(group: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if isinstance(value, (bool, int, float, str))}


def _refuse_unknown_counters(optimizer: Optimizer, begun: list[dict[str, Any]], counters: Collection[str]) -> None:
    changed = {
        key
        for group, then in zip(optimizer.param_groups, begun, strict=True)
        for key, value in then.items()
        if group[key] != value and key not in counters
    }
    if changed:
        keys = ", ".join(repr(key) for key in sorted(changed))
        raise UsageError(
            f"an optimizer must declare what its steps change in its groups, and {type(optimizer).__name__} changes"
            f" {keys}, which a resumed run would begin anew; name all such keys in its class: counters = ({keys},)"
        )


def _keep_hyperparameters(
    optimizer: Optimizer, loaded: dict[str, Any], *, counters: Collection[str]
) -> dict[str, Any] | None:
    if len(loaded["param_groups"]) != len(optimizer.param_groups):
        return None  # load_state_dict refuses it with a reason
    groups = [
        # what only steps add, such as LAMB's count, stays too
        {**then, **now, **{key: then[key] for key in counters if key in then}, "params": then["params"]}
        for now, then in zip(optimizer.param_groups, loaded["param_groups"], strict=True)
    ]
    idle = {index for group in groups if group.get("momentum") == 0 for index in group["params"]}
    state = {
        index: {key: value for key, value in values.items() if key != "momentum_buffer"} if index in idle else values
        for index, values in loaded["state"].items()
    }
    return {**loaded, "state": state, "param_groups": groups}


def _lay_out_state(optimizer: Optimizer) -> None:
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
