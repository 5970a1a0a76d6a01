"""How a worker's finished batch reaches the training process: in shared memory, else through a pipe."""

import logging
import mmap
import os
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

SHARED = "/dev/shm"  # where Linux keeps shared memory, and what processes wait for each other with

log = logging.getLogger(__name__)

_told: set[str] = set()  # which lines about a small /dev/shm have been written since the last `tell_again`


class _Piped:
    """A batch that is pickled as bytes; it arrives as the tuple of tensors that it was."""

    def __init__(self, batch: tuple[Tensor, ...], why: str) -> None:
        self._batch, self._why = batch, why

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (tuple(tensor.numpy() for tensor in self._batch), self._why)


def hand_over(batch: Any) -> Any:
    """The batch, ready to leave the worker; in the training process itself: as it is.

    The move to shared memory happens here, not in the thread that would do it later: what fails there is lost, and the
    training process would wait for the batch for ever.
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
    """Write the line into the log, of each kind the first one since `tell_again`."""
    if kind not in _told:
        _told.add(kind)
        log.warning("%s", line)


def tell_again() -> None:
    """Let the next line be written: another run begins."""
    _told.clear()


def size() -> str:
    """How large /dev/shm is, for a reader."""
    try:
        found = os.statvfs(SHARED)
    except OSError as error:
        return error.strerror or "not there"
    held = found.f_blocks * found.f_frsize
    unit, name = next((pair for pair in ((1e9, "GB"), (1e6, "MB")) if held >= pair[0]), (1e3, "kB"))
    return f"{held / unit:.3g} {name}"


def zeros(count: int, dtype: torch.dtype) -> Tensor:
    """`count` zeros that processes forked later share with this one. They need no /dev/shm, which may be full."""
    if not count:
        return torch.zeros(0, dtype=dtype)
    return torch.frombuffer(mmap.mmap(-1, count * dtype.itemsize), dtype=dtype, count=count)


def _arrived(arrays: tuple[np.ndarray, ...], why: str) -> tuple[Tensor, ...]:
    """In the training process."""
    warn_once("pipe", why)
    return tuple(torch.from_numpy(array) for array in arrays)
