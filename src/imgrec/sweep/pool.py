"""Implement launcher=pool: carry out several runs of a sweep at a time, each in its own process.

The processes are forked from a server that has imported what a run needs, and computed nothing. A process that crashes
is a failed run. Each process leads its own session, so that Ctrl-C reaches only this process, which then asks the
others to save their runs. When this process has ended, each of the others saves its run and exits. The server blocks
signals, and so does each process until it can handle them.
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

from imgrec import disk, records, runlog, safepath
from imgrec.config.root import Config
from imgrec.cores import cores
from imgrec.errors import Interrupted, RunError, interruption_in, sentence
from imgrec.job import Job
from imgrec.records import Record
from imgrec.runfolder import RECORD
from imgrec.sweep.jobs import close_dead
from imgrec.sweep.watch import Watch
from imgrec.training.interruption import SIGNALS, Interruption

_LOOK = 0.2  # seconds between two checks for a signal
_GRACE = 60.0  # seconds for a process to save its run after the sweep has ended, before it is killed
_SETTLE = 1.0  # seconds, as the processes of a job that is killed do not end at the same moment
_LONGEST = 4000  # characters of a reason, which fit into a pipe without a reader
_THREADS = "OMP_NUM_THREADS"
_PRELOAD = ["imgrec.training.run", "imgrec.execution"]  # imports Lightning and torchvision as well, which takes seconds


@dataclass(frozen=True, kw_only=True)
class Share:
    """The share of the machine that one process has.

    Attributes:
        threads: The number of CPU threads.
        gpus: The numbers of the GPUs; none for a run on the CPU.
    """

    threads: int
    gpus: tuple[int, ...] = ()


@dataclass(kw_only=True)
class _Running:
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


def shares(configs: Sequence[Config], processes: int) -> list[Share]:
    """Divide the machine among several processes.

    No process has more threads than a run without a pool (OMP_NUM_THREADS), so that a pool of one process computes the
    same sums.

    Args:
        configs: The configurations of the runs.
        processes: The number of processes at a time; 0 for as many as the GPUs, else the cores, allow.

    Raises:
        RunError: The runs need more GPUs than there are.
    """
    import torch

    devices = max(config.trainer.devices for config in configs)
    gpus = 0 if all(config.trainer.accelerator == "cpu" for config in configs) else torch.cuda.device_count()
    groups = (gpus or cores()) // devices
    if gpus and not groups:
        raise RunError(f"trainer.devices must be at most {gpus}, the GPUs of this machine, got {devices}")
    count = min(processes or max(1, groups), len(configs))
    threads = max(1, min(torch.get_num_threads(), cores() // (count * devices)))
    if not gpus:
        return [Share(threads=threads)] * count
    firsts = [number % groups * devices for number in range(count)]
    return [Share(threads=threads, gpus=tuple(range(first, first + devices))) for first in firsts]


def alone(job: Job, watch: Watch) -> None:
    """Carry out one run in a process of its own, which has all of the machine and computes as without a pool."""
    import torch

    threads, devices = torch.get_num_threads(), job.config.trainer.devices
    if devices > 1 and _THREADS not in os.environ:
        threads = max(1, cores() // devices)  # as Lightning divides them among the processes of a run
    Pool(parts=[Share(threads=threads)]).run([job], watch)


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
        free = self._shares([job.config for job in jobs])
        # both stay in effect in the server; its children block signals until they can handle them
        with safepath.for_processes(), _blocked_signals():
            forkserver.ensure_running()
        try:
            while running or (waiting and not watch.stop):
                while waiting and free and not watch.stop:
                    running.append(_start(context, waiting.pop(0), free.pop()))
                    watch.began(running[-1].job)
                wait([each.process.sentinel for each in running], timeout=_LOOK)
                for each in [each for each in running if not each.process.is_alive()]:
                    running.remove(each)
                    free.append(each.share)
                    _end(each, watch)
                if watch.stop:
                    for each in running:
                        each.ask_to_end()
        finally:
            for each in running:  # only after an error here
                each.ask_to_end()


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


def _end(ended: _Running, watch: Watch) -> None:
    """Report the end of a run after its process has ended. The run's record decides.

    An interrupted run counts as resumable, and so does a run without a word while the sweep ends.
    """
    said = ""
    with contextlib.suppress(EOFError, OSError), ended.answer:
        said = ended.answer.recv() if ended.answer.poll() else ""
    ended.process.join()
    code = ended.process.exitcode
    ended.process.close()
    if code == -signal.SIGKILL:
        time.sleep(_SETTLE)
    record = _record_in(ended.job.folder)
    if record is not None and record.status == "finished":
        watch.ended(ended.job)
        return
    if record == ended.before:  # an earlier process wrote it, and this one none
        record = None
    if watch.stop and not said:
        watch.cut(ended.job)
        return
    reason = ((record.error if record else None) or "").partition(": ")[2]
    if not said and record is not None and record.status == "interrupted":
        watch.cut(ended.job, reason or "a signal to its process alone interrupted it")
        return
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
    os.environ[_THREADS] = str(share.threads)  # for the other processes of a distributed run
    if share.gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(_visible(share.gpus))
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
            execution.run(job, swept=True, interruption=interruption)
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # the run has finished
    except (Exception, Interrupted) as error:
        if cut := interruption_in(error):
            sys.exit(cut.exit_code)
        answer.send(sentence(error)[:_LONGEST])
        sys.exit(1)


def _visible(gpus: Sequence[int]) -> list[str]:
    """Return the names of these GPUs, where CUDA_VISIBLE_DEVICES gives the sweep only some of them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = given.split(",") if given else []
    return [names[gpu] if names else str(gpu) for gpu in gpus]


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)  # to the run only, which ends its workers after it has saved
        time.sleep(_GRACE)
        os.killpg(0, signal.SIGKILL)
