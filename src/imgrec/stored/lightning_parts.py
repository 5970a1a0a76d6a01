"""Check the parts of a checkpoint that PyTorch and Lightning store, where these do not check them on loading."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from imgrec import value_checks
from imgrec.stored.tensors import dense, described


def check(checkpoint: Mapping[str, Any]) -> None:
    """Check the form of optimizers, schedules, averages, counters and early stopping.

    Raises:
        ValueError, KeyError: A part has another form.
    """
    for held in value_checks.items(checkpoint["optimizer_states"], "optimizer_states"):
        _check_optimizer(value_checks.mapping(held, "an optimizer's state"))
    for held in value_checks.items(checkpoint["lr_schedulers"], "lr_schedulers"):
        for name, value in value_checks.mapping(held, "a schedule's state").items():
            if isinstance(value, Tensor):
                raise ValueError(f"a schedule's {name} must be plain, got {described(value)}")
    if "current_model_state" in checkpoint:  # with a moving average: the weights that are trained
        weights = value_checks.mapping(checkpoint["current_model_state"], "current_model_state")
        _check_alike(weights, checkpoint["state_dict"])
    _check_counters(value_checks.mapping(checkpoint["loops"], "loops"), "loops")
    for name, held in value_checks.mapping(checkpoint["callbacks"], "callbacks").items():
        if name.startswith("EarlyStopping"):
            _check_stopping(value_checks.mapping(held, "EarlyStopping"))


def _check_optimizer(held: dict[str, Any]) -> None:
    """Check the groups of parameters by number, and the real tensors and plain values of each parameter."""
    for group in value_checks.items(held["param_groups"], "param_groups"):
        for number in value_checks.items(value_checks.mapping(group, "a group of parameters")["params"], "params"):
            value_checks.integer(number, "a parameter's number")
    if not isinstance(held["state"], dict):
        raise ValueError(f"an optimizer's state must be a mapping, got {value_checks.brief(held['state'])}")
    for number, values in held["state"].items():
        value_checks.integer(number, "a parameter's number")
        for name, value in value_checks.mapping(values, "a parameter's state").items():
            if isinstance(value, Tensor):
                dense(value, f"a parameter's {name}")
                if value.is_complex():
                    raise ValueError(f"a parameter's {name} must be real, got {described(value)}")


def _check_alike(weights: dict[str, Any], others: Mapping[str, Any]) -> None:
    """Check that the weights have the names, shapes and types of the others."""
    if weights.keys() != others.keys():
        raise ValueError(f"current_model_state must have the names of state_dict, got {value_checks.brief(weights)}")
    for name, value in weights.items():
        dense(value, f"current_model_state's {name}", like=others[name])


def _check_counters(found: dict[str, Any], what: str) -> None:
    """Check Lightning's counters of steps and epochs: integers, and whether a batch was the last."""
    for name, value in found.items():
        if isinstance(value, dict):
            _check_counters(value, f"{what}' {name}")
        elif not isinstance(value, bool):
            value_checks.integer(value, f"{what}' {name}")


def _check_stopping(stopping: dict[str, Any]) -> None:
    """Check Lightning's counts of early stopping, and the best score so far: a real number, as a tensor."""
    for key in ("wait_count", "stopped_epoch", "patience"):
        value_checks.integer(stopping[key], f"EarlyStopping's {key}")
    score = dense(stopping["best_score"], "EarlyStopping's best_score")
    if not score.is_floating_point() or score.ndim:
        raise ValueError(f"EarlyStopping's best_score must be a real number, got {described(score)}")
