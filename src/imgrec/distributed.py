"""Exchange values between the processes of one distributed run, and leave their group."""

import functools
from collections.abc import Sequence
from typing import Any, TypeVar

import lightning
import torch
from torch import Tensor

from imgrec.errors import UsageError

T = TypeVar("T")


def gathered(value: T) -> list[T]:
    """Return the values of all processes, by rank; a list of one value for a single process.

    All processes must call this at the same time.
    """
    if not _joined():
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


def averaged(value: Tensor) -> Tensor:
    """Return the mean of a tensor of numbers over all processes; the tensor itself for a single process.

    All processes must call this at the same time.
    """
    if not _joined():
        return value
    total = value.clone()
    torch.distributed.all_reduce(total)
    return total / torch.distributed.get_world_size()


def refuse_joined() -> None:
    """Refuse a process that belongs to a process group of the program that calls imgrec.

    A run's processes would exchange values with those of the program, and the run would end its group.

    Raises:
        UsageError: There is such a group.
    """
    if _joined():
        raise UsageError(
            "a run must begin without a process group of torch.distributed, and this process belongs to one of"
            f" {torch.distributed.get_world_size()}; end it first (torch.distributed.destroy_process_group()), or start"
            " the run in a process of its own"
        )


def leave(*, failed: bool) -> None:
    """Leave the process group, if this process belongs to one.

    Args:
        failed: True if another process may not answer any more.
    """
    if not _joined():
        return
    _between_cpus.cache_clear()  # it keeps connections open
    if failed and torch.distributed.get_backend() == "nccl":
        # destroying the group would wait for what the GPUs still exchange
        torch.distributed.distributed_c10d._abort_process_group()
    else:
        torch.distributed.destroy_process_group()


def is_broken(error: BaseException) -> bool:
    """Return True if the error means that the connection to another process of the run is lost."""
    if isinstance(error, torch.distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in _BROKEN)


_BROKEN = ("gloo/", "NCCL", "Connection closed by peer", "Connection reset by peer", "Broken pipe")


def _joined() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


@functools.lru_cache(maxsize=1)
def _between_cpus(world: Any) -> Any:
    """Return a gloo group of the same processes, a new one for each run's `world`."""
    return torch.distributed.new_group(backend="gloo")
