"""Exchange values between the processes of one distributed run."""

import functools
from collections.abc import Sequence
from typing import Any, TypeVar

import lightning
import torch

T = TypeVar("T")


def gathered(value: T) -> list[T]:
    """Return the values of all processes, by rank; a list of one value for a single process.

    All processes must call this at the same time.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [value]
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def own(values: Sequence[T], trainer: lightning.Trainer) -> T | None:
    """Return this process' part of gathered values; None if the run had another number of processes."""
    return values[trainer.global_rank] if len(values) == trainer.world_size else None


def anywhere(here: bool, trainer: lightning.Trainer) -> bool:
    """Return True if the value is true in any process, so that all processes act alike.

    All processes must call this at the same time. The exchange is between CPUs, as a check at every step must not wait
    for the GPUs.
    """
    if trainer.world_size == 1:
        return here
    flag = torch.tensor(int(here))
    torch.distributed.all_reduce(
        flag, torch.distributed.ReduceOp.MAX, group=_between_cpus(torch.distributed.group.WORLD)
    )
    return bool(flag)


@functools.lru_cache(maxsize=1)
def _between_cpus(world: Any) -> Any:
    """Return a gloo group of the same processes, a new one for each run's `world`."""
    return torch.distributed.new_group(backend="gloo")
