"""How many cores this process may use. Imports no torch."""

import os


def cores() -> int:
    """What a container or SLURM leaves of the machine's cores, where the system tells, else all of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
