"""Identify processes on machines that share a file system, and the time since this machine started.

Imports no torch.
"""

import contextlib
import functools
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # Linux's counts the time in which the machine sleeps
_STATE, _STARTED = 0, 19  # fields of /proc/PID/stat after the name


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where process ids have a meaning.

    Attributes:
        host: The machine's name.
        boot: The id of its present start, as a machine that was started again has no older process; "" if the system
            has none.
        namespace: The PID namespace, as each container may count its processes from 1; "" if the system has none.
    """

    host: str
    boot: str
    namespace: str


@functools.cache
def machine() -> Machine:
    """Return this machine."""
    return Machine(
        host=socket.gethostname(), boot=_text(Path("/proc/sys/kernel/random/boot_id")), namespace=_namespace()
    )


def started(pid: int) -> int | None:
    """Return when the process started, in ticks since the machine did; None if it is unknown or has ended."""
    fields = _fields(pid)
    return int(fields[_STARTED]) if len(fields) > _STARTED and fields[_STARTED].isdecimal() else None


def is_alive(pid: int, start: int | None) -> bool:
    """Return True if a process of this machine runs or is stopped.

    Args:
        pid: Its id, which the system gives again to a later process.
        start: When it started, as `started` says; None if it is unknown.
    """
    try:
        with contextlib.suppress(PermissionError):  # another user's
            os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    fields = _fields(pid)
    if fields and fields[_STATE] in ("Z", "X"):  # it has ended, and its parent has not asked how
        return False
    now = started(pid)
    return start is None or now is None or now == start


def batch_job() -> str | None:
    """Return the name of the SLURM or Ray job that this process belongs to; None if there is none."""
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        return f"SLURM job {array}_{os.environ.get('SLURM_ARRAY_TASK_ID', '0')}"
    for variable, program in (("SLURM_JOB_ID", "SLURM"), ("RAY_JOB_ID", "Ray")):
        if job := os.environ.get(variable):
            return f"{program} job {job}"
    return None


def elapsed() -> float:
    """Return the seconds since some moment of this machine. They pass while the process is stopped, too."""
    return time.clock_gettime(_CLOCK)


def _fields(pid: int) -> list[str]:
    return _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
