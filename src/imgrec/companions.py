"""The processes of one distributed run: the first one starts the others, its companions, which train along.

Lightning tells a companion its rank by LOCAL_RANK. Other programs set that variable too, so a companion also carries
the number of the process that started it. Imports no torch.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from imgrec.errors import UsageError

ADDRESS = "127.0.0.1"  # all processes of a run are on this machine
_STARTED_BY, _PORT = "IMGREC_STARTED_BY", "MASTER_PORT"
# how other programs tell a process that it is one of several; Lightning would believe them
_RANKS = ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "RANK")
_GRACE = 60.0  # seconds for a companion to end by itself when the training is over
_LOOK = 1.0  # seconds from one look at the companions to the next
_SETTLE = 10.0  # seconds for the first process to notice by itself that a companion is gone


def rank() -> int:
    """This process' number among those of its run; 0 for the first one, and for a run of one process."""
    if os.environ.get(_STARTED_BY) != str(os.getppid()):
        return 0
    return int(os.environ.get("LOCAL_RANK", "0"))


def refuse_foreign_rank() -> None:
    """Refuse to be one of several processes that another program has started (torchrun, mpirun).

    Each of them would carry out the whole run.
    """
    if rank() > 0:
        return
    for name in _RANKS:
        value = os.environ.get(name, "")
        if value.isdecimal() and int(value) > 0:
            raise UsageError(
                f"{name} must not be set, as imgrec starts the processes of a run itself, got {name}={value}; unset it,"
                " and give trainer=ddp trainer.devices=N for several processes"
            )


def forget_foreign_rank() -> None:
    """Take what other programs say of ranks out of the environment: Lightning would wait for processes of theirs."""
    if rank() == 0:
        for name in _RANKS:
            os.environ.pop(name, None)


def port() -> int:
    """The port of this machine at which the first process of the run waits, which has told it to its companions."""
    return int(os.environ[_PORT])


@contextlib.contextmanager
def started(job: Path, *, count: int, at_port: int) -> Iterator[None]:
    """Let companions train along while the block runs.

    They are killed where the block fails, and end by themselves otherwise. Where one of them fails, and the block goes
    on for ten seconds without it, all processes of the run are killed, as this one would wait for it for ever.

    Args:
        job: The file of the job that they carry out.
        count: How many processes the run has, this one included.
        at_port: Where this process waits for them.
    """
    command = [sys.executable, "-m", "imgrec", "_job", str(job)]
    told = {**os.environ, _STARTED_BY: str(os.getpid()), _PORT: str(at_port)}
    others: list[subprocess.Popen[bytes]] = []
    over = threading.Event()
    try:
        for number in range(1, count):
            others.append(subprocess.Popen(command, env={**told, "LOCAL_RANK": str(number)}))
        threading.Thread(target=_end_with_any, args=(others, over), daemon=True).start()
        yield
    except Exception:
        _kill(others)  # on GPUs they would wait half an hour for a process that has failed
        raise
    finally:
        over.set()
        until = time.monotonic() + _GRACE
        for other in others:
            try:
                other.wait(timeout=max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                _kill([other])
                other.wait()


def _end_with_any(others: Sequence[subprocess.Popen[bytes]], over: threading.Event) -> None:
    """Kill the whole run when a companion has failed and the first process does not notice."""
    while not over.wait(_LOOK):
        codes = [other.poll() for other in others]
        if any(codes):
            if not over.wait(_SETTLE):
                _kill(others)
                os.kill(os.getpid(), signal.SIGKILL)
            return
        if None not in codes:
            return


def _kill(others: Sequence[subprocess.Popen[bytes]]) -> None:
    for other in others:
        other.kill()  # does nothing where the process has ended
