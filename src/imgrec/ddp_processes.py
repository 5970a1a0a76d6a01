"""Start the processes of one distributed run: the first process starts the others, its companions. Imports no torch.

LOCAL_RANK gives a companion's rank. Other programs set that variable too, so a companion also gets the id of the
process that started it.
"""

import contextlib
import functools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from imgrec.errors import UsageError, interruption_in

log = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"  # all processes of a run are on this machine
_STARTED_BY, _PORT = "IMGREC_STARTED_BY", "MASTER_PORT"
# variables by which other programs give a process its rank; Lightning would use them
_RANKS = ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "RANK")
GRACE = 60.0  # seconds for a companion to exit after the training
_LOOK = 1.0  # seconds between two checks of the companions
_SETTLE = 10.0  # seconds for the first process to notice by itself that a companion has ended


def rank() -> int:
    """Return this process' rank in its run; 0 for the first process, and for a run of one process."""
    return _rank(os.getpid())


@functools.cache  # the process that started this one may end, which changes the parent's id
def _rank(process: int) -> int:
    if os.environ.get(_STARTED_BY) != str(os.getppid()):
        return 0
    return int(os.environ.get("LOCAL_RANK", "0"))


def refuse_foreign_rank() -> None:
    """Refuse to run as one of several processes that another program has started (torchrun, mpirun).

    Each of the processes would carry out the whole run.
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
    """Remove other programs' ranks from the environment, as Lightning would wait for their processes."""
    if rank() == 0:
        for name in _RANKS:
            os.environ.pop(name, None)


def port() -> int:
    """Return the port at which the first process of the run waits; companions get it from that process."""
    return int(os.environ[_PORT])


@contextlib.contextmanager
def started(job: str, *, count: int, at_port: int, noted: Callable[[], int | None]) -> Iterator[None]:
    """Run companions while the block runs.

    They are killed if the block fails; otherwise they exit by themselves. If a companion fails and the block continues
    for ten seconds without it, all processes of the run are ended, as this one would wait for the companion for ever.

    Args:
        job: The job as JSON text, which each companion reads from its standard input.
        count: The number of processes of the run, including this one.
        at_port: The port at which this process waits for them.
        noted: Returns the signal that this process has received; None for none.
    """
    command = [sys.executable, "-m", "imgrec", "_job", "-"]
    told = {**os.environ, _STARTED_BY: str(os.getpid()), _PORT: str(at_port)}
    others: list[subprocess.Popen[bytes]] = []
    over = threading.Event()
    try:
        for number in range(1, count):
            other = subprocess.Popen(command, env={**told, "LOCAL_RANK": str(number)}, stdin=subprocess.PIPE)
            others.append(other)
            assert other.stdin is not None, "a pipe"
            with contextlib.suppress(BrokenPipeError), other.stdin:  # a companion that has ended is detected below
                other.stdin.write(job.encode())
        threading.Thread(target=_end_with_any, args=(others, over, noted), daemon=True).start()
        yield
    except BaseException as error:
        if interruption_in(error) is None:  # on an interruption they save and exit by themselves
            _kill(others)  # on GPUs they would wait for half an hour for a failed process
        raise
    finally:
        over.set()
        until = time.monotonic() + GRACE
        for other in others:
            try:
                other.wait(timeout=max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                _kill([other])
                other.wait()


def _end_with_any(
    others: Sequence[subprocess.Popen[bytes]], over: threading.Event, noted: Callable[[], int | None]
) -> None:
    """End the whole run when a companion has failed and the first process does not notice."""
    while not over.wait(_LOOK):
        codes = [other.poll() for other in others]
        if any(codes):
            if over.wait(_SETTLE):
                return
            rank, code = next((rank, code) for rank, code in enumerate(codes, 1) if code)
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            log.error("process %d of the run ended with %s, and the others waited for it: all are ended", rank, how)
            _kill(others)
            signum = noted()
            os._exit(1 if signum is None else 128 + signum)
        if None not in codes:
            return


def _kill(others: Sequence[subprocess.Popen[bytes]]) -> None:
    for other in others:
        other.kill()  # no effect on a process that has ended
