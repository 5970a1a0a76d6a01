"""Move a worker's finished batch to the training process: in shared memory, or else through a pipe."""

import logging
import mmap
import os
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

SHARED = "/dev/shm"  # Linux' folder for shared memory and for the semaphores between processes

log = logging.getLogger(__name__)

_warned: set[str] = set()  # kinds of warnings about a small /dev/shm that were written since the last `tell_again`


class _Piped:
    """A batch that is pickled as bytes. Unpickling returns the original tuple of tensors."""

    def __init__(self, batch: tuple[Tensor, ...], why: str) -> None:
        self._batch, self._why = batch, why

    def __reduce__(self) -> tuple[Any, ...]:
        return _receive, (tuple(tensor.numpy() for tensor in self._batch), self._why)


def hand_over(batch: Any) -> Any:
    """Prepare the batch for leaving the worker. In the training process itself, return it unchanged.

    The move to shared memory happens here, and not in the loader's thread that would do it later. An error in that
    thread would be lost, and the training process would wait for the batch forever.
    """
    worker = get_worker_info()
    if worker is None:
        return batch
    try:
        for tensor in batch:
            tensor.share_memory_()
    except RuntimeError as error:
        reason, megabytes = str(error).rpartition(": ")[2], sum(tensor.nbytes for tensor in batch) / 1e6
        return _Piped(
            batch,
            f"{SHARED} ({size()}) has no room for the batches of data.num_workers={worker.num_workers} ({reason};"
            f" {megabytes:.1f} MB each): they come through pipes, which is slower; enlarge it (docker run"
            " --shm-size=2g), or lower data.num_workers",
        )
    return batch


def warn_once(kind: str, line: str) -> None:
    """Write the line into the log, unless a line of this kind was written since `tell_again`."""
    if kind not in _warned:
        _warned.add(kind)
        log.warning("%s", line)


def tell_again() -> None:
    """Allow every kind of warning to be written again, as another run begins."""
    _warned.clear()


def size() -> str:
    """Return the size of /dev/shm as a text."""
    try:
        found = os.statvfs(SHARED)
    except OSError as error:
        return error.strerror or "not there"
    held = found.f_blocks * found.f_frsize
    unit, name = next((pair for pair in ((1e9, "GB"), (1e6, "MB")) if held >= pair[0]), (1e3, "kB"))
    return f"{held / unit:.3g} {name}"


def zeros(count: int, dtype: torch.dtype) -> Tensor:
    """Return `count` zeros that processes forked later share with this one.

    The memory is not in /dev/shm, which may be full.
    """
    if not count:
        return torch.zeros(0, dtype=dtype)
    return torch.frombuffer(mmap.mmap(-1, count * dtype.itemsize), dtype=dtype, count=count)


def _receive(arrays: tuple[np.ndarray, ...], why: str) -> tuple[Tensor, ...]:
    """Rebuild a piped batch in the training process, and warn once."""
    warn_once("pipe", why)
    return tuple(torch.from_numpy(array) for array in arrays)
