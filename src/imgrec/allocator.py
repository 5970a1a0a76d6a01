"""Set how the C library handles the freed memory of tensors on the CPU, and free what a run has left."""

import ctypes
import gc

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h
_NEVER = -1


def keep_freed_memory() -> bool:
    """Make this process keep freed memory for later allocations. Return True if the C library (glibc) can.

    By default glibc requests each block over 32 MiB from the system, and returns it when it is freed. Each training
    step then requests the memory of its larger activations again, page by page: a quarter of the time at batch 512
    (experiments/speed/README.md). With this setting, the memory of the process stays at its highest use. See
    mallopt(3).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # another C library
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _NEVER))


def free_unused() -> None:
    """Free the memory of the previous run, whose callbacks and error contain reference cycles. Imports torch."""
    import torch

    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
