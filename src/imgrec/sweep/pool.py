"""launcher=pool: several runs of a sweep at a time, each in a process of its own.

Processes are forked from a server that has imported what a run needs and computed nothing. A process that dies hard is
a failed run. Each leads a session of its own, so that Ctrl-C reaches this process alone, which asks them to save; and
each ends itself, saved, when this one is gone. The server, and a process until it can answer, hold signals back.
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

from imgrec import disk, records, runlog, safepath
from imgrec.config.root import Config
from imgrec.cores import cores
from imgrec.errors import Interrupted, RunError, interruption_in, sentence
from imgrec.job import Job
from imgrec.runfolder import RECORD
from imgrec.sweep.jobs import close_dead
from imgrec.sweep.watch import Watch
from imgrec.training.interruption import SIGNALS, Interruption

_LOOK = 0.2  # seconds from one look for a signal to the next
_GRACE = 60.0  # seconds for a process to save its run when the sweep is gone, before it is ended as it is
_SETTLE = 1.0  # seconds: whoever kills all processes of a job does not reach them at the same moment
_LONGEST = 4000  # characters of a reason: a pipe takes so many without a reader
_PRELOAD = ["imgrec.training.run", "imgrec.execution"]  # Lightning and torchvision with it: seconds, once


@dataclass(frozen=True, kw_only=True)
class Share:
    """What of the machine one process has. gpus: their numbers; none where the run is on the CPU."""

    threads: int
    gpus: tuple[int, ...] = ()


@dataclass(kw_only=True)
class _Running:
    job: Job
    process: ForkServerProcess
    answer: Connection
    share: Share
    asked: bool = False

    def ask_to_end(self) -> None:
        if not self.asked and self.process.is_alive():
            self.asked = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid or 0, signal.SIGTERM)


def shares(configs: Sequence[Config], processes: int) -> list[Share]:
    """Divide the machine among that many processes at a time; 0: as many as there are GPUs, else cores, for.

    None has more threads than a run alone would have (OMP_NUM_THREADS), so that one at a time sums as without a pool.
    Raises RunError where the runs ask for more GPUs than there are.
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


def whole() -> Share:
    """All that a run without a pool would have, for one process at a time."""
    import torch

    return Share(threads=torch.get_num_threads())


class Pool:
    """Carries out several jobs at a time.

    Args:
        processes: How many; 0: as many as there are GPUs, else cores, for.
        parts: What of the machine each process has, instead of equal shares.
    """

    def __init__(self, *, processes: int = 0, parts: Sequence[Share] | None = None) -> None:
        self._processes, self._parts = processes, parts

    def at_a_time(self, configs: Sequence[Config]) -> int:
        """As in `Launcher`: the processes that there is room for."""
        return len(self._shares(configs))

    def _shares(self, configs: Sequence[Config]) -> list[Share]:
        return list(self._parts) if self._parts is not None else shares(configs, self._processes)

    def run(self, jobs: Sequence[Job], watch: Watch) -> None:
        """As in `Launcher`. Signals are held back."""
        with watch.deferred():
            self._run(jobs, watch)

    def _run(self, jobs: Sequence[Job], watch: Watch) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOAD)
        waiting, running = list(jobs), list[_Running]()
        free = self._shares([job.config for job in jobs])
        # both for good in the server; signals are held back in its children until they can answer
        with safepath.for_processes(), _held_back():
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
            for each in running:  # something went wrong here
                each.ask_to_end()


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """What is started while the block runs has these signals blocked; here they arrive afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(context: ForkServerContext, job: Job, share: Share) -> _Running:
    answer, own = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(job.to_json(), share, own), name=job.name)
    process.start()
    own.close()
    return _Running(job=job, process=process, answer=answer, share=share)


def _end(ended: _Running, watch: Watch) -> None:
    """Tell what became of a run whose process is no more; its record decides.

    Where the sweep ends, a run that was cut off is to be resumed.
    """
    said = ""
    with contextlib.suppress(EOFError, OSError), ended.answer:
        said = ended.answer.recv() if ended.answer.poll() else ""
    ended.process.join()
    code = ended.process.exitcode
    ended.process.close()
    if code == -signal.SIGKILL:
        time.sleep(_SETTLE)
    path = ended.job.folder / RECORD
    status = records.read(path).status if path.is_file() else None
    if status == "finished":
        watch.ended(ended.job)
        return
    if watch.stop and not said:
        watch.cut(ended.job)
        return
    if not said and status == "interrupted":
        said = "a signal to its process alone interrupted it; it is saved, and the same command goes on from there"
    elif not said:
        how = f"with {signal.Signals(-code).name}" if code is not None and code < 0 else f"with exit code {code}"
        said = f"its process ended {how} without a word; see {ended.job.folder / 'train.log'}"
        try:
            close_dead(ended.job.folder, said)
        except RunError as error:  # a full disk, or something of the run that still holds its lock
            said += f", and its record could not be closed: {error}"
    watch.ended(ended.job, said)


def _child(text: str, share: Share, answer: Connection) -> None:
    """One run, in a process of its own; what any of it prints goes to the run's train.log. text: the job as JSON."""
    os.setsid()
    os.environ["OMP_NUM_THREADS"] = str(share.threads)  # for the other processes of a distributed run
    if share.gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(_visible(share.gpus))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from imgrec import allocator, execution, runfolder

    allocator.keep_freed_memory()
    interruption = Interruption(ignore_repeated=True)  # a group's signal and this sweep's own ask for the same
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
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # it is done
    except (Exception, Interrupted) as error:
        if cut := interruption_in(error):
            sys.exit(cut.exit_code)
        answer.send(sentence(error)[:_LONGEST])
        sys.exit(1)


def _visible(gpus: Sequence[int]) -> list[str]:
    """The names of these GPUs, where the sweep itself was given only some of the machine's."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = given.split(",") if given else []
    return [names[gpu] if names else str(gpu) for gpu in gpus]


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)  # the run alone: it ends its own workers when it has saved
        time.sleep(_GRACE)
        os.killpg(0, signal.SIGKILL)
