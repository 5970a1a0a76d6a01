"""Implement launcher=pool: carry out several runs of a sweep at a time, each in a process that may die.

The processes (`worker`) are forked from a server that has imported what a run needs, and computed nothing. A process
has one run, or with launcher.per_gpu several one after the other. One that crashes is a failed run. One that finds its
GPU broken is none: the GPU is set aside, and the run is carried out again. Each process leads its own session, so that
Ctrl-C reaches only this process, which then asks the others to save their runs. When this process has ended, each of
the others saves its run and exits. The server blocks signals, and so does each process until it can handle them.
"""

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext

from imgrec import gpus, runfolder, safepath
from imgrec.config.root import Config
from imgrec.errors import BrokenGpuError
from imgrec.job import Job
from imgrec.records import Record
from imgrec.sweeps import mps
from imgrec.sweeps.jobs import closed_dead
from imgrec.sweeps.shares import Share, shares, whole
from imgrec.sweeps.watch import StoppedError, Watch
from imgrec.sweeps.worker import Terms, Worker
from imgrec.training.interruption import SIGNALS

_LOOK = 0.2  # seconds between two checks for a signal
_SETTLE = 1.0  # seconds, as the processes of a job that is killed do not end at the same moment
_PRELOAD = ["imgrec.training.run", "imgrec.execution"]  # imports Lightning and torchvision as well, which takes seconds


@dataclass(kw_only=True, eq=False)
class _Place:
    """A part of the machine, and the worker that waits or works there; None before the first and after each end."""

    share: Share
    worker: Worker | None = None

    def suits(self, job: Job) -> bool:
        return self.worker is None or self.worker.suits(job)

    def leave(self) -> int | None:
        """End the worker, and return its exit code."""
        worker, self.worker = self.worker, None
        return worker.end() if worker is not None else None


@dataclass(kw_only=True)
class _Running:
    """A run in its worker.

    Attributes:
        before: The record that an earlier process of the run has left; None without one.
        asked: True once the process was asked to end.
        pruned: Why the run is ended early; None if it is not.
    """

    job: Job
    place: _Place
    worker: Worker
    before: Record | None
    asked: bool = False
    pruned: str | None = None

    def ask_to_end(self) -> None:
        if not self.asked:
            self.asked = True
            self.worker.ask_to_end()


def alone(job: Job, watch: Watch) -> None:
    """Carry out one run in a process of its own, which has all of the machine and computes as without a pool."""
    Pool(parts=[whole(job.config)]).run([job], watch)


def served() -> ForkServerContext:
    """Return what forks processes from the server, which runs afterwards."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    # both stay in effect in the server; its children block signals until they can handle them
    with safepath.for_processes(), _blocked_signals():
        forkserver.ensure_running()
    return context


class Pool:
    """Carry out several jobs at a time.

    Args:
        processes: The number of processes; 0 for as many as the GPUs, else the cores, allow.
        per_gpu: The number of processes on each GPU, each of which carries out several runs; 0 for a process a run.
        parts: The share of each process, instead of equal shares.
    """

    def __init__(self, *, processes: int = 0, per_gpu: int = 0, parts: Sequence[Share] | None = None) -> None:
        self._processes, self._per_gpu, self._parts = processes, per_gpu, parts

    def at_a_time(self, configs: Sequence[Config]) -> int:
        """Return the number of processes; see `Launcher`."""
        return len(self.shares(configs))

    def shares(self, configs: Sequence[Config]) -> list[Share]:
        """Return the share of the machine that each process has."""
        return list(self._parts) if self._parts is not None else shares(configs, self._processes, self._per_gpu)

    def run(self, jobs: Sequence[Job], watch: Watch) -> None:
        """See `Launcher`. Signals are deferred."""
        parts = self.shares([job.config for job in jobs])
        with watch.deferred(), mps.served(parts if self._per_gpu else [], watch.say) as variables:
            self._run(jobs, parts, variables, watch)

    def _run(self, jobs: Sequence[Job], parts: Sequence[Share], variables: Mapping[str, str], watch: Watch) -> None:
        context = served()
        waiting, running = list(jobs), list[_Running]()
        places, aside = [_Place(share=share) for share in parts], dict[Share, str]()
        free, returned = list(places), list[Job]()
        try:
            while running or (waiting and free and not watch.stop):
                while waiting and free and not watch.stop:
                    job = waiting.pop(0)
                    place = next((place for place in reversed(free) if place.suits(job)), free[-1])
                    free.remove(place)
                    terms = Terms(share=place.share, several=self._per_gpu > 0, variables=variables)
                    running.append(_start(context, job, place, terms))
                    watch.began(job)
                wait([source for each in running for source in each.worker.sources], timeout=_LOOK)
                for each in [each for each in running if each.worker.has_ended_run()]:
                    running.remove(each)
                    free.append(each.place)
                    if (reason := _end(each, watch)) is not None:
                        aside[each.place.share] = reason
                        told = f"{each.place.share} cannot be used and is set aside: {reason}"
                        watch.returned(each.job, told)
                        waiting.append(each.job)  # after the others, as the run may itself be the cause
                        returned.append(each.job)
                for place in [place for place in free if any(place.share.overlaps(other) for other in aside)]:
                    free.remove(place)
                    place.leave()
                for each in running:
                    if not each.asked and (verdict := watch.verdict(each.job)) is not None:
                        each.pruned = verdict
                        each.ask_to_end()
                if watch.stop:
                    for each in running:
                        each.ask_to_end()
        finally:
            for each in running:  # only after an error here
                each.ask_to_end()
            _leave([place for place in places if place not in [each.place for each in running]])
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


def _start(context: ForkServerContext, job: Job, place: _Place, terms: Terms) -> _Running:
    """Give the run to the worker that waits in this place, or to a new one."""
    before = runfolder.written(job.folder)
    worker = place.worker
    if worker is None or not worker.suits(job) or not worker.take(job):
        place.leave()
        worker = place.worker = Worker(context, job, terms)
    return _Running(job=job, place=place, worker=worker, before=before)


def _leave(places: Sequence[_Place]) -> None:
    """End the workers that wait for a run, all at the same time."""
    for place in places:
        if place.worker is not None:
            place.worker.let_go()
    for place in places:
        place.leave()


def _end(ended: _Running, watch: Watch) -> str | None:
    """Report the end of a run after its process has ended, or waits for the next run. The run's record decides.

    An interrupted run counts as resumable, and so does a run without a word while the sweep ends.

    Returns:
        Why its GPUs cannot be used, where that ended it, which is not reported; else None.
    """
    word = ended.worker.word
    said = word.reason if word is not None else ""
    code = 0 if ended.worker.waits else ended.place.leave()
    if code == -signal.SIGKILL:
        time.sleep(_SETTLE)
    record = runfolder.written(ended.job.folder)
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
    if ended.pruned is not None and not said and record is not None and record.status == "interrupted":
        watch.pruned(ended.job, ended.pruned)
        return None
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
        said = closed_dead(ended.job.folder, said)
    watch.ended(ended.job, said)
    return None
