"""Carry out runs of a sweep in a process of its own: one run, or several one after the other.

A worker that has finished a run is as a new process: the run has given back what it changed, and what it left in
memory is freed. It ends where that cannot be said: after a failed or interrupted run, after one with components from
outside of imgrec, and where CUDA has failed. The run that it carries out has its output and its signals; between two
runs a signal ends it. All of this module's process leads its own session and ends with its parent.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from typing import TYPE_CHECKING

from imgrec import disk, gpus, runfolder, runlog
from imgrec.config import origins
from imgrec.config.root import Config
from imgrec.cores import THREADS
from imgrec.errors import BrokenGpuError, Interrupted, interruption_in, sentence
from imgrec.job import Job
from imgrec.runlog import LOG
from imgrec.sweeps.shares import Share
from imgrec.training.interruption import SIGNALS, Interruption

if TYPE_CHECKING:
    from imgrec.data.sources import Load

_LOOK = 0.2  # seconds between two checks for a signal
_GRACE = 60.0  # seconds for a process to save its run after the sweep has ended, before it is killed
_ANSWERS = 30.0  # seconds for a waiting worker to take its next run, or to exit, before it is killed
_LONGEST = 4000  # characters of a reason, which fit into a pipe without a reader
_TAKEN, _FINISHED = "taken", "finished"


@dataclass(frozen=True, kw_only=True)
class Word:
    """Why a process could not finish its run.

    Attributes:
        reason: The reason in a sentence.
        of_gpu: True if it could not use its GPUs, which is no failure of the run.
    """

    reason: str
    of_gpu: bool = False


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What holds for all runs of a worker.

    Attributes:
        share: Its share of the machine.
        several: True if it may carry out several runs.
        variables: Environment variables, such as those of NVIDIA's MPS.
    """

    share: Share
    several: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)


class Worker:
    """A worker as the pool sees it. It begins with its first run.

    Args:
        context: Starts the process.
        job: The first run.
        terms: What holds for all of its runs.

    Attributes:
        word: Why it could not finish its run; None as long as it gives no reason.
    """

    def __init__(self, context: ForkServerContext, job: Job, terms: Terms) -> None:
        self._pipe, own = context.Pipe()
        self._process = context.Process(target=_main, args=(job.to_json(), terms, own), name=job.name)
        self._process.start()
        own.close()
        self._kind = _kind(job.config, terms.share)
        self._share = terms.share
        self._is_heard, self._waits = True, False
        self.word: Word | None = None

    @property
    def sources(self) -> list[int | Connection]:
        """What becomes ready (`multiprocessing.connection.wait`) when it speaks or ends."""
        return [self._process.sentinel, *([self._pipe] if self._is_heard else [])]

    def has_ended_run(self) -> bool:
        """Return True if its run is over: it waits for the next one, or its process has ended."""
        is_over = not self._process.is_alive()  # asked first, so that its last words are read
        while self._is_heard and not self._waits:
            try:
                if not self._pipe.poll():
                    break
                said = self._pipe.recv()
            except (EOFError, OSError):
                self._is_heard = False
            else:
                self._waits = said == _FINISHED
                self.word = said if isinstance(said, Word) else self.word
        return is_over or self._waits

    @property
    def waits(self) -> bool:
        """True if it has finished its run and can take another."""
        return self._waits and self._process.is_alive()

    def suits(self, job: Job) -> bool:
        """Return True if the run may come after those that it had."""
        return self._kind == _kind(job.config, self._share)

    def take(self, job: Job) -> bool:
        """Give it the next run. Return False if it has ended meanwhile, and the run has not begun."""
        try:
            self._pipe.send(job.to_json())
            taken = self._pipe.poll(_ANSWERS) and self._pipe.recv() == _TAKEN
        except (EOFError, OSError):
            taken = False
        self._waits = not taken
        return bool(taken)

    def ask_to_end(self) -> None:
        """Ask it to save its run and to end, once."""
        if self._process.is_alive():
            with suppress(ProcessLookupError):
                os.kill(self._process.pid or 0, signal.SIGTERM)

    def let_go(self) -> None:
        """Tell it that there is no further run."""
        self._is_heard = False
        self._pipe.close()

    def end(self) -> int | None:
        """Wait for its end, after `let_go` or its last run, and return its exit code. One that hangs is killed."""
        self.let_go()
        self._process.join(_ANSWERS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        code = self._process.exitcode
        self._process.close()
        return code


def _kind(config: Config, share: Share) -> bool | None:
    """Return what all runs of a worker have in common: cuBLAS and cuDNN choose algorithms once for a process."""
    return config.trainer.deterministic == "true" if share.gpus else None


def _main(text: str, terms: Terms, pipe: Connection) -> None:
    """Carry out runs in this process.

    Args:
        text: The first run, a job as JSON.
        terms: What holds for all of its runs.
        pipe: Takes the reason of a failure; gives the next runs, as long as there are any.
    """
    os.setsid()
    os.environ.update(terms.variables)
    os.environ[THREADS] = str(terms.share.threads)  # for the other processes of a distributed run
    if terms.share.gpus:
        os.environ[gpus.VISIBLE] = ",".join(terms.share.gpus)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from imgrec import allocator
    from imgrec.data import sources

    allocator.keep_freed_memory()
    interruption = Interruption(ignore_repeated=True)  # a signal to the process group and the sweep's own mean the same
    kept, ahead = sources.Kept(), text
    try:
        with interruption.watched():
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            while ahead:
                job = Job.from_json(ahead, "the sweep")
                if job.config.data.streams:
                    kept = sources.Kept()  # frees the images of the runs before
                _carry_out(job, terms, interruption, load=kept.load if terms.several else None)
                ahead = _next(job, pipe, interruption) if terms.several else ""
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # the run has finished
    except (Exception, Interrupted) as error:
        if cut := interruption_in(error):
            sys.exit(cut.exit_code)
        of_gpu = isinstance(error, BrokenGpuError)
        reason = error.reason if isinstance(error, BrokenGpuError) else sentence(error)
        pipe.send(Word(reason=reason[:_LONGEST], of_gpu=of_gpu))
        sys.exit(1)


def _carry_out(job: Job, terms: Terms, interruption: Interruption, *, load: "Load | None") -> None:
    """Carry out one run. All output of the process goes to the run's train.log from here on."""
    import torch

    from imgrec import execution

    share = terms.share
    runfolder.prepare(job.folder)
    with runlog.refusing_disk():
        log = disk.appending(job.folder / LOG)
    _flush()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    torch.set_num_threads(share.threads)
    if share.gpus and job.config.trainer.accelerator != "cpu":
        gpus.check_given(share.gpus)  # or trainer.accelerator=auto would take the CPU
        if terms.several and share.shared > 1:
            gpus.limit_memory(share.shared)
    execution.run(job, swept=True, load=load, interruption=interruption, shared=share.shared)


def _next(job: Job, pipe: Connection, interruption: Interruption) -> str:
    """Free what the run has left, and return the next one; an empty text if this process is to end.

    Raises:
        Interrupted: A signal came after the next run was taken.
    """
    with interruption.deferred():
        if origins.used(job.config) or gpus.lost() is not None:  # strangers' code may leave anything behind
            return ""
        _forget(job)
        try:
            pipe.send(_FINISHED)
            while not pipe.poll(_LOOK):
                if interruption.signum is not None:
                    return ""
            text: str = pipe.recv()
            if interruption.signum is not None:
                return ""
            pipe.send(_TAKEN)
        except (EOFError, OSError):  # the sweep has no other run, or has ended
            return ""
    interruption.raise_if_asked()
    return text


def _forget(job: Job) -> None:
    """Free what a run leaves in memory: its objects, CUDA's unused memory, and what torch.compile has made."""
    from imgrec import allocator

    if job.config.trainer.compile:
        import torch

        torch.compiler.reset()
    allocator.free_unused()


def _flush() -> None:
    """Write what Python and the C library hold back, as the next output belongs to another run."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # a full disk, a closed stream
            stream.flush()
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).fflush(None)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)  # to the run only, which ends its workers after it has saved
        time.sleep(_GRACE)
        os.killpg(0, signal.SIGKILL)
