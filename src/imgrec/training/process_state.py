"""Restore what a run changes in its process, as a program may start a run in the middle of its own work."""

import contextlib
import logging
import os
import random
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only

from imgrec import gpus, ranks

_QUIETENED = ("lightning.pytorch", "lightning.fabric", "mlflow", "alembic")
_RANK = "rank"  # the process' rank, which Lightning reads from the environment at its import


@contextlib.contextmanager
def left_as_found() -> Iterator[None]:
    """Restore PyTorch's settings, random states, environment, warning filters and Lightning's log after the block.

    GPUs that CUDA cannot use are hidden in the block. Changes that another thread makes meanwhile are lost.
    """
    environment = dict(os.environ)
    levels = {name: logging.getLogger(name).level for name in _QUIETENED}
    settings, rank = _settings(), getattr(rank_zero_only, _RANK, None)
    try:
        with warnings.catch_warnings(), random_states_kept(), gpus.unusable_hidden():
            ranks.forget_strays()
            setattr(rank_zero_only, _RANK, ranks.rank())
            yield
    finally:
        setattr(rank_zero_only, _RANK, rank)
        _restore_settings(settings)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        for name, value in environment.items():
            if os.environ.get(name) != value:
                os.environ[name] = value


@contextlib.contextmanager
def random_states_kept() -> Iterator[None]:
    """Restore the random states of Python, NumPy and PyTorch after the block."""
    states = _random_states()
    try:
        yield
    finally:
        _restore_random_states(states)


def _settings() -> dict[str, Any]:
    return {
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "fill": torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        "benchmark": torch.backends.cudnn.benchmark,
        "grad": torch.is_grad_enabled(),
    }


def _restore_settings(settings: dict[str, Any]) -> None:
    torch.set_num_threads(settings["threads"])
    torch.use_deterministic_algorithms(settings["deterministic"], warn_only=settings["warn_only"])
    torch.utils.deterministic.fill_uninitialized_memory = settings["fill"]  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = settings["benchmark"]
    torch.set_grad_enabled(settings["grad"])


def _random_states() -> dict[str, Any]:
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],  # type: ignore[no-untyped-call]
    }


def _restore_random_states(states: dict[str, Any]) -> None:
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        with contextlib.suppress(RuntimeError):  # the error of a run after which CUDA fails is the one to be raised
            torch.cuda.set_rng_state_all(states["cuda"])
