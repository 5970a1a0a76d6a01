"""Let the processes of a run that torchrun or srun has started find each other, through a store of PyTorch's.

The first process turns the command into a job, as in any run. The others wait for the job, as they could come to
another one by looking at the same folders a moment later, and train along in it. They say there when they are ready,
and why they fail, and count up a number while they live, which tells of them on any machine. Each waits with its end
until the first has ended the run: torchrun ends all of them with the first failure that it sees, before the record is
closed, and so does a SLURM with a WaitTime after the first end, in the midst of the final measurements.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from signal import SIGKILL

from torch.distributed import DistError, PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from imgrec import ddp_processes, process_ends, ranks
from imgrec.errors import Interrupted, LostProcess, RunError, UsageError, shown
from imgrec.process_ends import Cause, Word
from imgrec.ranks import Start

_JOB, _HOST, _BEATS, _READY, _END, _OVER, _LEFT = "job", "host", "beats", "ready", "end", "over", "left"
_DEVICE = "device"
_NOTHING = "-"  # in place of a job: nothing is to be trained
_CONNECTS = timedelta(seconds=300)  # for the slowest process to begin
_PAUSE = 0.05  # seconds between two looks into the store
_BEAT = 0.5  # seconds between two signs of life
_GONE = 5.0  # seconds without one after which a process has ended, where a connection is lost as well
_SILENT = 60.0  # the same where nothing else tells of an end
_GRACE = 30.0  # seconds for a process to end after another one
_LAST_WORDS = 3.0  # seconds for the first process to end once its record is closed


class _Meeting:
    """What this process knows of the others.

    Attributes:
        store: The store of these processes; None outside of `serving`.
        over: True once the first process has carried out its run.
        left: Set once this process, which is not the first, needs the store no more.
        life: The thread in which it gives signs of life.
    """

    store: Store | None = None
    over = False
    left = threading.Event()
    life: threading.Thread | None = None


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
    except (Interrupted, KeyboardInterrupt):
        patience = _LAST_WORDS  # a lost process does not answer, and the signal was for all of them
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
        store.add(f"{_BEATS}/{ranks.rank()}", 1)
        store.set(f"{_HOST}/{ranks.rank()}", socket.gethostname())
        _Meeting.life = threading.Thread(target=_live, args=(store, ranks.rank(), _Meeting.left), daemon=True)
        _Meeting.life.start()
        _wait(lambda: store.check([_JOB]))
        job = store.get(_JOB).decode()
    except (DistError, RuntimeError) as error:
        raise RunError("the first process of the run has ended before the training; see what it says") from error
    return None if job == _NOTHING else job


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


def wait_until_over() -> None:
    """Wait until the first process has ended the run, if torchrun or srun has started this one."""
    if (store := _Meeting.store) is not None:
        with contextlib.suppress(DistError, RuntimeError):  # the first process has ended
            _wait(lambda: store.check([_OVER]))


def leave() -> None:
    """Say that this process, which is not the first, needs the store no more."""
    _Meeting.left.set()
    if _Meeting.life is not None:
        _Meeting.life.join()  # a thread in PyTorch's code would abort the process at its exit
    if _Meeting.store is not None:
        with contextlib.suppress(DistError, RuntimeError):
            _Meeting.store.set(f"{_LEFT}/{ranks.rank()}", "1")


def _live(store: Store, rank: int, left: threading.Event) -> None:
    """Give signs of life. End this process where the first one has ended and it goes on to wait for it."""
    try:
        while not left.wait(_BEAT):
            store.add(f"{_BEATS}/{rank}", 1)
    except (DistError, RuntimeError):  # the store has ended with the first process
        if not left.wait(_GRACE):
            os._exit(1)


def say_ready(step: int, device: str) -> None:
    """Say that this process has built its part of the run.

    Args:
        step: The step from which it goes on.
        device: The name of its device.
    """
    if ranks.here().by == "imgrec":
        ddp_processes.say_ready()
    elif _Meeting.store is not None:
        _Meeting.store.set(f"{_DEVICE}/{ranks.rank()}", device)
        _Meeting.store.set(f"{_READY}/{ranks.rank()}", str(step))


@dataclass
class _Life:
    """The signs of life of a process: their number at the last look, when that was, and how long it has not risen."""

    beats: int
    looked: float
    silent: float = 0.0


class Started:
    """The other processes of a run, which torchrun or srun has started, as the first one sees them.

    Args:
        job: The job as JSON text, in which they train along.
        step: The step from which the run goes on.
        log: The file with their log.
        asked: Returns the signal that this process has received; None for none.
    """

    def __init__(self, job: str, step: int, log: Path, asked: Callable[[], int | None]) -> None:
        assert _Meeting.store is not None, "inside of serving()"
        self._store, self._start, self._step, self._log = _Meeting.store, ranks.here(), step, log
        self._asked = asked
        self._lives = dict[int, _Life]()
        self._lock = threading.Lock()  # the thread that watches them looks as well
        self._store.set(_JOB, job)

    def wait_until_ready(self) -> None:
        """Wait until all have built their part of the run.

        Raises:
            RunError, LostProcess: One of them has ended, or has never come, or goes on from another step.
            Interrupted: This process was asked to end, and so were they.
        """
        until = time.monotonic() + _CONNECTS.total_seconds()
        while not self._store.check([f"{_READY}/{rank}" for rank in self._others]):
            if (signum := self._asked()) is not None:
                raise Interrupted(signum)
            if self.have_failed() and (cause := self.cause()):
                raise cause
            absent = [rank for rank in self._others if not self._store.check([f"{_HOST}/{rank}"])]
            if absent and time.monotonic() > until:
                raise self._lost(absent[0], "has not come")
            time.sleep(_PAUSE)
        for rank in self._others:
            if (step := int(self._store.get(f"{_READY}/{rank}"))) != self._step:
                raise RunError(
                    f"{self._named(rank)} must go on from step {self._step} as the first one does, and finds step"
                    f" {step} in {shown(self._log.parent)}; put the folder on a file system that all machines share,"
                    " or wait until they all see its newest files"
                )

    def devices(self) -> list[str]:
        """Return the names of their devices, once they are ready."""
        return [self._store.get(f"{_DEVICE}/{rank}").decode() for rank in self._others]

    def cause(self) -> Cause | None:
        """Return why one of them has ended; None if none ends within ten seconds, or none of the ends is the cause."""
        until = time.monotonic() + process_ends.SETTLE
        while True:
            silent = [
                rank for rank in self._others if self._silence(rank) > _GONE
            ]  # before the words, which come first
            words = {rank: word for rank in self._others if (word := self._said(rank)) is not None}
            for rank, word in words.items():
                if cause := process_ends.cause_of(rank, self._log, code=None, word=word):
                    return cause
            for rank in silent:
                if rank not in words:
                    return self._lost(rank, "ended without a word")
            if len(words) == len(self._others) or time.monotonic() > until:
                return None
            time.sleep(_PAUSE)

    def have_failed(self) -> bool:
        """Return True if one of them has said that it fails, or has given no sign of life for a minute."""
        return any(self._said(rank) is not None or self._silence(rank) > _SILENT for rank in self._others)

    def kill(self) -> None:
        """Leave them alone: the program that has started them ends them, or they end as this process does."""

    def _lost(self, rank: int, how: str) -> LostProcess:
        return LostProcess(
            self._asked() or SIGKILL,
            f"{self._named(rank)} {how}; {self._start.by} tells of its end, and its log is {shown(self._log)}",
        )

    def _named(self, rank: int) -> str:
        where = ""
        if self._start.nodes > 1 and self._store.check([f"{_HOST}/{rank}"]):
            where = f", on {self._store.get(f'{_HOST}/{rank}').decode()},"
        return f"process {rank} of the run{where}"

    def _said(self, rank: int) -> Word | None:
        key = f"{_END}/{rank}"
        return Word.from_json(self._store.get(key).decode()) if self._store.check([key]) else None

    def _silence(self, rank: int) -> float:
        """Return for how many seconds the process has given no sign of life.

        Time in which this process was suspended hardly counts, as the other one was suspended too.
        """
        with self._lock:
            beats, now = self._store.add(f"{_BEATS}/{rank}", 0), time.monotonic()
            life = self._lives.setdefault(rank, _Life(beats, now))
            life.silent = 0.0 if beats != life.beats else life.silent + min(now - life.looked, 1.0)
            life.beats, life.looked = beats, now
            return life.silent if beats else 0.0  # else it has not come yet

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
            f" {str(error).splitlines()[0]}; see what the first one says, or give another MASTER_PORT"
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
