"""Implement launcher=pool: carry out several runs of a sweep at a time, each in its own process.

The processes are forked from a server that has imported what a run needs, and computed nothing. A process that crashes
is a failed run. One that finds its GPU broken is none: the GPU is set aside, and the run is carried out again. Each
process leads its own session, so that Ctrl-C reaches only this process, which then asks the others to save their runs.
When this process has ended, each of the others saves its run and exits. The server blocks signals, and so does each
process until it can handle them.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

from imgrec import disk, gpus, records, runlog, safepath
from imgrec.config.root import Config
from imgrec.errors import BrokenGpuError, Interrupted, RunError, interruption_in, sentence
from imgrec.job import Job
from imgrec.records import Record
from imgrec.runfolder import RECORD
from imgrec.sweep.jobs import close_dead
from imgrec.sweep.shares import THREADS, Share, shares, whole
from imgrec.sweep.watch import StoppedError, Watch
from imgrec.training.interruption import SIGNALS, Interruption

_LOOK = 0.2  # seconds between two checks for a signal
_GRACE = 60.0  # seconds for a process to save its run after the sweep has ended, before it is killed
_SETTLE = 1.0  # seconds, as the processes of a job that is killed do not end at the same moment
_LONGEST = 4000  # characters of a reason, which fit into a pipe without a reader
_PRELOAD = ["imgrec.training.run", "imgrec.execution"]  # imports Lightning and torchvision as well, which takes seconds


@dataclass(frozen=True, kw_only=True)
class _Word:
    """Why a process could not finish its run.

    Attributes:
        reason: The reason in a sentence.
        of_gpu: True if it could not use its GPUs, which is no failure of the run.
    """

    reason: str
    of_gpu: bool = False


@dataclass(kw_only=True)
class _Running:
    """A run in its process. `before` is when an earlier process of the run ended, as its record says."""

    job: Job
    process: ForkServerProcess
    answer: Connection
    share: Share
    before: Record | None
    asked: bool = False

    def ask_to_end(self) -> None:
        if not self.asked and self.process.is_alive():
            self.asked = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid or 0, signal.SIGTERM)


def alone(job: Job, watch: Watch) -> None:
    """Carry out one run in a process of its own, which has all of the machine and computes as without a pool."""
    Pool(parts=[whole(job.config)]).run([job], watch)


class Pool:
    """Carry out several jobs at a time.

    Args:
        processes: The number of processes; 0 for as many as the GPUs, else the cores, allow.
        parts: The share of each process, instead of equal shares.
    """

    def __init__(self, *, processes: int = 0, parts: Sequence[Share] | None = None) -> None:
        self._processes, self._parts = processes, parts

    def at_a_time(self, configs: Sequence[Config]) -> int:
        """Return the number of processes; see `Launcher`."""
        return len(self._shares(configs))

    def _shares(self, configs: Sequence[Config]) -> list[Share]:
        return list(self._parts) if self._parts is not None else shares(configs, self._processes)

    def run(self, jobs: Sequence[Job], watch: Watch) -> None:
        """See `Launcher`. Signals are deferred."""
        with watch.deferred():
            self._run(jobs, watch)

    def _run(self, jobs: Sequence[Job], watch: Watch) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOAD)
        waiting, running = list(jobs), list[_Running]()
        free, aside = self._shares([job.config for job in jobs]), dict[Share, str]()
        returned = list[Job]()
        # both stay in effect in the server; its children block signals until they can handle them
        with safepath.for_processes(), _blocked_signals():
            forkserver.ensure_running()
        try:
            while running or (waiting and free and not watch.stop):
                while waiting and free and not watch.stop:
                    running.append(_start(context, waiting.pop(0), free.pop()))
                    watch.began(running[-1].job)
                wait([each.process.sentinel for each in running], timeout=_LOOK)
                for each in [each for each in running if not each.process.is_alive()]:
                    running.remove(each)
                    free.append(each.share)
                    if (reason := _end(each, watch)) is not None:
                        aside[each.share] = reason
                        watch.returned(each.job, f"{each.share} cannot be used and is set aside: {reason}")
                        waiting.append(each.job)  # after the others, as the run may itself be the cause
                        returned.append(each.job)
                free = [share for share in free if not any(share.overlaps(other) for other in aside)]
                if watch.stop:
                    for each in running:
                        each.ask_to_end()
        finally:
            for each in running:  # only after an error here
                each.ask_to_end()
        for job in waiting:
            if job in returned and job.record() is not None:
                watch.cut(job)
        if waiting and not watch.stop:
            told = "; ".join(sorted(f"{share}: {reason}" for share, reason in aside.items()))
            raise StoppedError(
                f"no GPU is left for the sweep, whose runs need one ({told}); mend them, or name others in"
                f" {gpus.VISIBLE}, and start the same command again: it goes on with what is left"
            )


@contextlib.contextmanager
def _blocked_signals() -> Iterator[None]:
    """Block the signals in processes that the block starts. This process receives them after the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(context: ForkServerContext, job: Job, share: Share) -> _Running:
    before = _record_in(job.folder)
    answer, own = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(job.to_json(), share, own), name=job.name)
    process.start()
    own.close()
    return _Running(job=job, process=process, answer=answer, share=share, before=before)


def _end(ended: _Running, watch: Watch) -> str | None:
    """Report the end of a run after its process has ended. The run's record decides.

    An interrupted run counts as resumable, and so does a run without a word while the sweep ends.

    Returns:
        Why its GPUs cannot be used, where that ended it, which is not reported; else None.
    """
    word = None
    with contextlib.suppress(EOFError, OSError), ended.answer:
        word = ended.answer.recv() if ended.answer.poll() else None
    said = word.reason if word is not None else ""
    ended.process.join()
    code = ended.process.exitcode
    ended.process.close()
    if code == -signal.SIGKILL:
        time.sleep(_SETTLE)
    record = _record_in(ended.job.folder)
    if record is not None and record.status == "finished":
        watch.ended(ended.job)
        return None
    if record == ended.before:  # an earlier process wrote it, and this one none
        record = None
    kind, _, reason = ((record.error if record else None) or "").partition(": ")
    if word is not None and word.of_gpu:
        return said
    if not said and kind == BrokenGpuError.__name__:
        return reason  # its process had to end at once
    if watch.stop and not said:
        watch.cut(ended.job)
        return None
    if not said and record is not None and record.status == "interrupted":
        watch.cut(ended.job, reason or "a signal to its process alone interrupted it")
        return None
    if not said and record is not None and record.status == "failed" and reason:
        said = reason  # its process had to end at once
    elif not said:
        how = f"with {signal.Signals(-code).name}" if code is not None and code < 0 else f"with exit code {code}"
        said = f"its process ended {how} without a word; see {ended.job.folder / 'train.log'}"
        try:
            close_dead(ended.job.folder, said)
        except RunError as error:  # a full disk, or another process of the run still has the lock
            said += f", and its record could not be closed: {error}"
    watch.ended(ended.job, said)
    return None


def _record_in(folder: Path) -> Record | None:
    return records.read(folder / RECORD) if (folder / RECORD).is_file() else None


def _child(text: str, share: Share, answer: Connection) -> None:
    """Carry out one run in its own process. All output of the process goes to the run's train.log.

    Args:
        text: The job as JSON.
        share: The process' share of the machine.
        answer: The pipe that takes the reason of a failure.
    """
    os.setsid()
    os.environ[THREADS] = str(share.threads)  # for the other processes of a distributed run
    if share.gpus:
        os.environ[gpus.VISIBLE] = ",".join(share.gpus)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from imgrec import allocator, execution, runfolder

    allocator.keep_freed_memory()
    interruption = Interruption(ignore_repeated=True)  # a signal to the process group and the sweep's own mean the same
    try:
        with interruption.watched():
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            job = Job.from_json(text, "the sweep")
            runfolder.prepare(job.folder)
            with runlog.refusing_disk():
                log = disk.appending(job.folder / "train.log")
            os.dup2(log, 1)
            os.dup2(log, 2)
            import torch

            torch.set_num_threads(share.threads)
            if share.gpus and job.config.trainer.accelerator != "cpu":
                gpus.check_given(share.gpus)  # or trainer.accelerator=auto would take the CPU
            execution.run(job, swept=True, interruption=interruption)
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # the run has finished
    except (Exception, Interrupted) as error:
        if cut := interruption_in(error):
            sys.exit(cut.exit_code)
        of_gpu = isinstance(error, BrokenGpuError)
        reason = error.reason if isinstance(error, BrokenGpuError) else sentence(error)
        answer.send(_Word(reason=reason[:_LONGEST], of_gpu=of_gpu))
        sys.exit(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)  # to the run only, which ends its workers after it has saved
        time.sleep(_GRACE)
        os.killpg(0, signal.SIGKILL)
