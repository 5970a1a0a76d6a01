"""What the C library does with memory that tensors on the CPU give back."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h
_NEVER = -1


def keep_freed_memory() -> bool:
    """Have this process keep freed memory for its next allocations; whether the C library (glibc) can do so.

    By default glibc asks the system for each block over 32 MiB and gives it back when it is freed. Each training step
    then pays for its larger activations page by page, once more: a quarter of the time at batch
    512 (experiments/speed/README.md). Kept, memory stays at the highest use so far until the process ends. mallopt(3).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # another C library
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _NEVER))
