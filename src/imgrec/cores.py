"""Count the CPU cores of this process. Imports no torch."""

import os

THREADS = "OMP_NUM_THREADS"
"""The variable that gives a process its number of threads."""


def cores() -> int:
    """Return the number of CPU cores available to this process, if the system reports it, else of the machine.

    A container or SLURM may limit it.
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores_each(processes: int) -> int:
    """Return the number of cores of each of so many processes; at least 1."""
    return max(1, cores() // processes)
