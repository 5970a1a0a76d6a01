"""What the processes of one distributed run tell each other."""

import functools
from collections.abc import Sequence
from typing import Any, TypeVar

import lightning
import torch

T = TypeVar("T")


def gathered(value: T) -> list[T]:
    """Every process' value, by rank; all must ask at the same moment. Alone: a list of one."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [value]
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def own(values: Sequence[T], trainer: lightning.Trainer) -> T | None:
    """This process' part of what was once gathered; None where the run had another number of processes."""
    return values[trainer.global_rank] if len(values) == trainer.world_size else None


def anywhere(here: bool, trainer: lightning.Trainer) -> bool:
    """Whether it is so in any process, so that all of them do the same; all must ask at the same moment.

    Asked from CPU to CPU: a question at every step must not wait until a GPU has done what it was given.
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
    """The same processes, by gloo; anew for each run's `world`."""
    return torch.distributed.new_group(backend="gloo")
