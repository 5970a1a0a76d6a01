"""A training state out of a checkpoint file, looked at value by value before anything acts on it.

What else PyTorch's and Lightning's own parts of it hold (schedules, an optimizer's settings) they check themselves.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imgrec import records, value_checks
from imgrec.errors import RunError

META = "imgrec"  # the key of what Lightning does not store

_PARTS = ("optimizer_states", "lr_schedulers", "loops", "callbacks", "train_scores")
_MOST_SIDE = 2**14  # pixels
_MOST_CLASSES = 10**6
_NUMPY_KEYS = 624  # words of a Mersenne Twister's state, which is Python's generator and NumPy's
_PYTHON_VERSION = 3  # of that state in Python


def meta(path: Path, state: Mapping[str, Any]) -> dict[str, Any]:
    """What the checkpoint says of its network and of its run. Raises RunError for one that imgrec did not write."""
    try:
        found = value_checks.mapping(state[META], META)
        value_checks.name(found["run_id"], "run_id")
        value_checks.text(found["fingerprint"], "fingerprint")
        value_checks.mapping(found["config"], "config")
        records.check_components(found.get("components", {}))
        for name in value_checks.items(found["classes"], "classes", most=_MOST_CLASSES):
            value_checks.text(name, "a class")
        value_checks.integer(found["image_size"], "image_size", low=1, high=_MOST_SIDE)
        channels = value_checks.integer(found["channels"], "channels", low=1, high=64)
        for key in ("mean", "std"):
            for value in value_checks.items(found[key], key, length=channels):
                value_checks.number(value, key)
        value_checks.integer(state["global_step"], "global_step")
        for name, value in value_checks.mapping(state["state_dict"], "state_dict").items():
            _dense(value, f"state_dict's {name}")
    except KeyError as error:
        raise RunError(f"{path} must carry {error}, and does not; use a checkpoint that this version wrote") from error
    except ValueError as error:
        raise RunError(
            f"{path} carries a configuration that this version cannot read: {error}; use the version that wrote it"
        ) from error
    return found


def check_training(path: Path, state: Mapping[str, Any]) -> None:
    """Refuse, with a RunError, a state that no run can go on from."""
    meta(path, state)
    try:
        for part in _PARTS:
            state[part]
        for held in value_checks.items(state["optimizer_states"], "optimizer_states"):
            _check_optimizer(value_checks.mapping(held, "an optimizer's state"))
        for held in value_checks.items(state["lr_schedulers"], "lr_schedulers"):
            for name, value in value_checks.mapping(held, "a schedule's state").items():
                if isinstance(value, Tensor):
                    raise ValueError(f"a schedule's {name} must be plain, got {_told(value)}")
        if "current_model_state" in state:  # under a moving average: the weights that train
            _check_alike(value_checks.mapping(state["current_model_state"], "current_model_state"), state["state_dict"])
        _check_counts(value_checks.mapping(state["loops"], "loops"), "loops")
        callbacks = value_checks.mapping(state["callbacks"], "callbacks")
        _check_saver(value_checks.mapping(callbacks["Saver"], "Saver"))
        speed = value_checks.mapping(callbacks["Speed"], "Speed")
        value_checks.integer(speed["images"], "Speed's images")
        for key in ("seconds", "wall"):
            value_checks.number(speed[key], f"Speed's {key}", low=0)
        if "Finite" in callbacks:
            value_checks.integer(value_checks.mapping(callbacks["Finite"], "Finite")["skipped"], "Finite's skipped")
        for name, held in callbacks.items():
            if name.startswith("EarlyStopping"):
                _check_stopping(value_checks.mapping(held, "EarlyStopping"))
        _check_data(value_checks.mapping(state.get("ImageData", {"epoch": 0, "batch": 0}), "ImageData"))
        for counts in value_checks.items(state["train_scores"], "train_scores"):
            held = value_checks.mapping(counts, "train_scores")
            for name, value in value_checks.mapping(held["counts"], "counts").items():
                _dense(value, f"train_scores' {name}")
            for batch in value_checks.items(held["waiting"], "train_scores' waiting"):
                _check_waiting(value_checks.items(batch, "a waiting batch", length=3), len(state[META]["classes"]))
    except (KeyError, ValueError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise RunError(
            f"{path} must be a checkpoint that imgrec wrote, got {reason}; restore the run's own, or remove its folder"
        ) from error


def _check_optimizer(held: dict[str, Any]) -> None:
    """Groups of parameters by number, and for each parameter real tensors and plain values."""
    for group in value_checks.items(held["param_groups"], "param_groups"):
        for number in value_checks.items(value_checks.mapping(group, "a group of parameters")["params"], "params"):
            value_checks.integer(number, "a parameter's number")
    if not isinstance(held["state"], dict):
        raise ValueError(f"an optimizer's state must be a mapping, got {value_checks.brief(held['state'])}")
    for number, values in held["state"].items():
        value_checks.integer(number, "a parameter's number")
        for name, value in value_checks.mapping(values, "a parameter's state").items():
            if isinstance(value, Tensor):
                _dense(value, f"a parameter's {name}")
                if value.is_complex():
                    raise ValueError(f"a parameter's {name} must be real, got {_told(value)}")


def _check_alike(weights: dict[str, Any], others: Mapping[str, Any]) -> None:
    """Weights of the names, shapes and types of the others."""
    if weights.keys() != others.keys():
        raise ValueError(f"current_model_state must have the names of state_dict, got {value_checks.brief(weights)}")
    for name, value in weights.items():
        _dense(value, f"current_model_state's {name}", like=others[name])


def _check_counts(found: dict[str, Any], what: str) -> None:
    """Lightning's counters of steps and epochs: integers, and whether a batch was the last."""
    for name, value in found.items():
        if isinstance(value, dict):
            _check_counts(value, f"{what}' {name}")
        elif not isinstance(value, bool):
            value_checks.integer(value, f"{what}' {name}")


def _check_saver(saver: dict[str, Any]) -> None:
    if not isinstance(saver["over"], bool):
        raise ValueError(f"Saver's over must be true or false, got {value_checks.brief(saver['over'])}")
    for value in value_checks.items(saver["position"], "Saver's position", length=2):
        value_checks.integer(value, "Saver's position")
    for key in ("step", "rows", "rows_lost"):  # the rows are newer
        value_checks.integer(saver[key] if key == "step" else saver.get(key, 0), f"Saver's {key}")
    for key in ("best", "best_lost"):
        if saver.get(key) is not None:
            _check_best(value_checks.mapping(saver[key], f"Saver's {key}"))
    if saver.get("best_file") is not None:
        of_best = value_checks.mapping(saver["best_file"], "Saver's best_file")
        for key in ("sha256", "run_id"):
            value_checks.name(of_best[key], f"best_file's {key}")
    for each in value_checks.items(saver["random"], "Saver's random"):
        _check_random(value_checks.mapping(each, "Saver's random"))


def _check_best(best: dict[str, Any]) -> None:
    for key in ("top1", "epoch", "step"):
        value_checks.number(best[key], f"best's {key}", low=0)
    if not isinstance(best["loss"], float):  # of any size, or none: of a network that has diverged
        raise ValueError(f"best's loss must be a number, got {value_checks.brief(best['loss'])}")
    value_checks.text(best.get("why", ""), "best's why")


def _check_random(random: dict[str, Any]) -> None:
    version, numbers, gauss = value_checks.items(random["python"], "python's generator", length=3)
    value_checks.integer(version, "python's generator", low=_PYTHON_VERSION, high=_PYTHON_VERSION)
    words = value_checks.items(numbers, "python's generator", length=_NUMPY_KEYS + 1)
    for word in words:
        value_checks.integer(word, "a word of python's generator", high=2**32 - 1)
    value_checks.integer(words[-1], "the place in python's generator", high=_NUMPY_KEYS)
    keys, at, has_gauss, cached = value_checks.items(random["numpy"], "numpy's generator", length=4)
    _dense(keys, "numpy's generator", like=torch.empty(_NUMPY_KEYS, dtype=torch.int64))
    value_checks.integer(at, "the place in numpy's generator", high=_NUMPY_KEYS)
    value_checks.integer(has_gauss, "numpy's generator", high=1)
    for value in (gauss, cached):
        if value is not None:
            value_checks.number(value, "a number of a generator")
    _dense(random["torch"], "torch's generator", like=torch.get_rng_state())
    for each in value_checks.items(random["cuda"], "cuda's generators"):
        _dense(each, "cuda's generator")


def _check_waiting(batch: list[Any], classes: int) -> None:
    """Logits (N, K), targets (N,) or (N, K), and their loss."""
    logits_nk, targets, loss = batch
    for value in batch:
        _dense(value, "a waiting batch")
    images = logits_nk.shape[0] if logits_nk.ndim == 2 else -1
    fits = logits_nk.shape == (images, classes) and targets.shape in ((images,), (images, classes)) and loss.ndim == 0
    if not fits or not logits_nk.is_floating_point() or not loss.is_floating_point():
        shapes = ", ".join(map(_told, batch))
        raise ValueError(f"a waiting batch must be logits, targets and a loss of {classes} classes, got {shapes}")
    if targets.ndim == 1 and (targets.dtype != torch.int64 or not all(0 <= int(k) < classes for k in targets.unique())):
        raise ValueError(
            f"the targets of a waiting batch must be classes from 0 to {classes - 1}, got {_told(targets)}"
        )


def _check_stopping(stopping: dict[str, Any]) -> None:
    """Lightning's counts of early stopping, and the best score so far: a real number, as a tensor."""
    for key in ("wait_count", "stopped_epoch", "patience"):
        value_checks.integer(stopping[key], f"EarlyStopping's {key}")
    score = stopping["best_score"]
    _dense(score, "EarlyStopping's best_score")
    if not score.is_floating_point() or score.ndim:
        raise ValueError(f"EarlyStopping's best_score must be a real number, got {_told(score)}")


def _check_data(data: dict[str, Any]) -> None:
    for key in ("epoch", "batch"):
        value_checks.integer(data[key], f"ImageData's {key}")
    if data.get("subset") is not None:
        subset = value_checks.mapping(data["subset"], "subset")
        _dense(subset["kept"], "subset's kept")
        value_checks.integer(subset["since"], "subset's since")
        value_checks.number(subset["share"], "subset's share", low=0, high=1)


def _dense(value: Any, what: str, *, like: Tensor | None = None) -> None:
    if not isinstance(value, Tensor) or value.layout != torch.strided:
        found = value.layout if isinstance(value, Tensor) else value_checks.brief(value)
        raise ValueError(f"{what} must be a dense tensor, got {found}")
    if like is not None and (value.dtype, value.shape) != (like.dtype, like.shape):
        raise ValueError(f"{what} must be {_told(like)}, got {_told(value)}")


def _told(value: Tensor) -> str:
    return f"{value.dtype} of shape {tuple(value.shape)}"
