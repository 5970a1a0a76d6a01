"""Let the processes of a run that torchrun or srun has started find each other, through a store of PyTorch's.

The first process turns the command into a job, as in any run. The others wait for the job, as they could come to
another one by looking at the same folders a moment later, and train along in it. They say there when they are ready,
and why they fail. Each waits with its end until the first has ended the run, as torchrun ends all of them with the
first failure that it sees, and the record needs a moment.
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from torch.distributed import DistError, PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from imgrec import ddp_processes, ranks
from imgrec.ddp_processes import Cause, Word
from imgrec.errors import LostProcess, RunError, UsageError, shown
from imgrec.ranks import Start

_JOB, _PROCESS, _READY, _END, _OVER, _LEFT = "job", "process", "ready", "end", "over", "left"
_NOTHING = "-"  # in place of a job: nothing is to be trained
_CONNECTS = timedelta(seconds=300)  # for the slowest process to begin
_PAUSE = 0.05  # seconds between two looks into the store
_GRACE = 30.0  # seconds for a process to end after another one
_LAST_WORDS = 3.0  # seconds for the first process to end once its record is closed


class _Meeting:
    """What this process knows of the others.

    Attributes:
        store: The store of these processes; None outside of `serving`.
        over: True once the first process has carried out its run.
    """

    store: Store | None = None
    over = False


@contextlib.contextmanager
def serving() -> Iterator[None]:
    """Let the other processes wait for the job that this one, the first, comes to in the block.

    After the block they end, whether or not there was something to train.

    Raises:
        UsageError: The processes have carried out a run before. The others have ended then.
    """
    start = ranks.here()
    if _Meeting.over:
        raise UsageError(
            f"the processes that {start.by} has started carry out one run, and this program has carried out one; give"
            f" each run a program of its own, or start this one without {start.by}"
        )
    store = _Meeting.store = _store(start)
    patience = _GRACE
    try:
        yield
    except LostProcess:
        patience = _LAST_WORDS  # the lost one does not answer
        raise
    finally:
        _Meeting.store, _Meeting.over = None, True
        with contextlib.suppress(DistError, RuntimeError):  # the store's process has ended, and the others with it
            if not store.check([_JOB]):
                store.set(_JOB, _NOTHING)
            store.set(_OVER, "1")
            if _serves(start):  # the store ends with this process
                _wait(lambda: store.check([f"{_LEFT}/{rank}" for rank in range(1, start.size)]), seconds=patience)


def received() -> str | None:
    """Wait for the first process to come to its job, and return it as JSON text; None if there is nothing to train."""
    store = _Meeting.store = _store(ranks.here())
    try:
        store.set(f"{_PROCESS}/{ranks.rank()}", str(os.getpid()))
        _wait(lambda: store.check([_JOB]))
        job = store.get(_JOB).decode()
    except (DistError, RuntimeError) as error:
        raise RunError("the first process of the run has ended before the training; see what it says") from error
    if job == _NOTHING:
        leave()
        return None
    return job


def tell(word: Word) -> None:
    """Say to the first process why this one ends, and wait until it has ended the run."""
    store = _Meeting.store
    if store is None:
        return
    with contextlib.suppress(DistError, RuntimeError):  # the first process has ended
        store.set(f"{_END}/{ranks.rank()}", word.to_json())
        _wait(lambda: store.check([_OVER]), seconds=_GRACE)
        leave()
        time.sleep(_LAST_WORDS)  # torchrun ends the first process once this one has failed


def leave() -> None:
    """Say that this process, which is not the first, needs the store no more."""
    if _Meeting.store is not None:
        with contextlib.suppress(DistError, RuntimeError):
            _Meeting.store.set(f"{_LEFT}/{ranks.rank()}", "1")


def say_ready() -> None:
    """Say that this process has built its part of the run."""
    if ranks.here().by == "imgrec":
        ddp_processes.say_ready()
    elif _Meeting.store is not None:
        _Meeting.store.set(f"{_READY}/{ranks.rank()}", "1")


class Started:
    """The other processes of a run, which torchrun or srun has started, as the first one sees them.

    Args:
        job: The job as JSON text, in which they train along.
        log: The file with their log.
        asked: Returns the signal that this process has received; None for none.
    """

    def __init__(self, job: str, log: Path, asked: Callable[[], int | None]) -> None:
        assert _Meeting.store is not None, "inside of serving()"
        self._store, self._start, self._log, self._asked = _Meeting.store, ranks.here(), log, asked
        self._processes = dict[int, int]()  # files that tell of the end of a process, by its rank
        self._store.set(_JOB, job)

    def wait_until_ready(self) -> None:
        """Wait until all have built their part of the run.

        Raises:
            RunError, LostProcess: One of them has ended, or has never come.
        """
        until = time.monotonic() + _CONNECTS.total_seconds()
        while not self._store.check([f"{_READY}/{rank}" for rank in self._others]):
            if any(self._said(rank) or self._has_ended(rank) for rank in self._others) and (cause := self.cause()):
                raise cause
            absent = [rank for rank in self._others if not self._store.check([f"{_PROCESS}/{rank}"])]
            if absent and (self._asked() is not None or time.monotonic() > until):
                raise self._lost(absent[0], "has not come")
            time.sleep(_PAUSE)

    def cause(self) -> Cause | None:
        """Return why one of them has ended; None if none ends within ten seconds, or none of the ends is the cause."""
        until = time.monotonic() + ddp_processes.SETTLE
        while True:
            ended = [rank for rank in self._others if self._has_ended(rank)]  # before the words, which come first
            late = time.monotonic() > until
            for rank in self._others:
                if (word := self._said(rank)) is not None:
                    if cause := ddp_processes.cause_of(rank, self._log, code=None, word=word):
                        return cause
                elif late or rank in ended:
                    return self._lost(rank, "ended without a word")
            if late or all(self._said(rank) for rank in self._others):
                return None
            time.sleep(_PAUSE)

    def _lost(self, rank: int, how: str) -> LostProcess:
        return LostProcess(
            self._asked() or signal.SIGKILL,
            f"process {rank} of the run {how}; {self._start.by} tells of its end, and its log is {shown(self._log)}",
        )

    def _said(self, rank: int) -> Word | None:
        key = f"{_END}/{rank}"
        return Word.from_json(self._store.get(key).decode()) if self._store.check([key]) else None

    def _has_ended(self, rank: int) -> bool:
        """Return True if the process is known to have ended."""
        key = f"{_PROCESS}/{rank}"
        if rank not in self._processes and self._store.check([key]):
            try:
                self._processes[rank] = os.pidfd_open(int(self._store.get(key)))
            except ProcessLookupError:
                return True
            except (OSError, AttributeError):  # not Linux, or forbidden: its connection tells of its end, or torchrun
                return False
        file = self._processes.get(rank)
        return file is not None and bool(select.select([file], [], [], 0)[0])

    def close(self) -> None:
        """Forget the processes."""
        for file in self._processes.values():
            os.close(file)

    @property
    def _others(self) -> range:
        return range(1, self._start.size)


def _store(start: Start) -> Store:
    """Return a store that all processes of the run reach: torchrun's, else one in the first process."""
    assert start.port is not None, start
    try:
        store = TCPStore(
            start.address,
            start.port,
            is_master=_serves(start),
            timeout=_CONNECTS,
            wait_for_workers=False,
            multi_tenant=True,  # PyTorch's process group uses the same port
        )
    except (DistError, RuntimeError) as error:
        raise RunError(
            f"process {start.rank} of the run must reach the first one at {start.address}:{start.port}, got:"
            f" {str(error).splitlines()[0]}; give another MASTER_PORT"
        ) from error
    return PrefixStore(f"imgrec/{ranks.attempt()}", store)


def _serves(start: Start) -> bool:
    """Return True if the store is in this process."""
    return start.rank == 0 and not (start.by == "torchrun" and ranks.has_store())


def _wait(ready: Callable[[], bool], *, seconds: float = float("inf")) -> None:
    """Return when `ready`, or after so many seconds. Signals are noticed meanwhile."""
    until = time.monotonic() + seconds
    while not ready() and time.monotonic() < until:
        time.sleep(_PAUSE)
