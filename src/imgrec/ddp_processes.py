"""The processes of one distributed run: the first one starts the others, its companions, which train along.

A companion knows its rank by LOCAL_RANK. Other programs set that variable too, so a companion also carries the number
of the process that started it. Imports no torch.
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
# how other programs tell a process that it is one of several; Lightning would believe them
_RANKS = ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "RANK")
_GRACE = 60.0  # seconds for a companion to end by itself when the training is over
_LOOK = 1.0  # seconds from one look at the companions to the next
_SETTLE = 10.0  # seconds for the first process to notice by itself that a companion is gone


def rank() -> int:
    """This process' number among those of its run; 0 for the first one, and for a run of one process."""
    return _rank(os.getpid())


@functools.cache  # the process that started this one may end, and its number with it
def _rank(process: int) -> int:
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
def started(job: str, *, count: int, at_port: int, noted: Callable[[], int | None]) -> Iterator[None]:
    """Let companions train along while the block runs.

    They are killed where the block fails, and end by themselves otherwise. Where one of them fails, and the block goes
    on for ten seconds without it, all processes of the run are ended, as this one would wait for it for ever.

    Args:
        job: The job that they carry out, as JSON text, which each reads from its standard input.
        count: How many processes the run has, this one included.
        at_port: Where this process waits for them.
        noted: Tells which signal has come to this process, if any has.
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
            with contextlib.suppress(BrokenPipeError), other.stdin:  # one that has ended is seen below
                other.stdin.write(job.encode())
        threading.Thread(target=_end_with_any, args=(others, over, noted), daemon=True).start()
        yield
    except BaseException as error:
        if interruption_in(error) is None:  # they save, and end by themselves
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
        other.kill()  # does nothing where the process has ended
