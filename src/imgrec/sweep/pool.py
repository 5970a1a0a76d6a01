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
from pathlib import Path

from imgrec import records, safepath
from imgrec.config.root import Config
from imgrec.cores import cores
from imgrec.errors import Interrupted, RunError, interruption_in, sentence
from imgrec.runfolder import RECORD
from imgrec.sweep.jobs import Job, close_dead, surroundings
from imgrec.sweep.ledger import Ledger
from imgrec.training.interruption import SIGNALS, Interruption

_LOOK = 0.2  # seconds from one look for a signal to the next
_GRACE = 60.0  # seconds for a process to save its run when the sweep is gone, before it is ended as it is
_SETTLE = 1.0  # seconds: whoever kills all processes of a job does not reach them at the same moment
_LONGEST = 4000  # characters of a reason: a pipe takes so many without a reader
_PRELOAD = ["imgrec.training.run", "imgrec.launch"]  # Lightning and torchvision with it: seconds, once


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


def run(
    jobs: Sequence[Job], ledger: Ledger, parts: Sequence[Share], interruption: Interruption, *, stop_at_failure: bool
) -> None:
    """Carry the jobs out, as many at a time as there are shares. Raises Interrupted when all have saved and ended."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    waiting, free, running, stopped = list(jobs), list(parts), list[_Running](), False
    with interruption.deferred():
        # both for good in the server; signals are held back in its children until they can answer
        with safepath.for_processes(), _held_back():
            forkserver.ensure_running()
        try:
            while running or waiting:
                while waiting and free and not stopped:
                    running.append(_start(context, waiting.pop(0), free.pop()))
                    ledger.began(running[-1].job)
                    stopped |= interruption.signum is not None
                wait([each.process.sentinel for each in running], timeout=_LOOK)
                for each in [each for each in running if not each.process.is_alive()]:
                    running.remove(each)
                    free.append(each.share)
                    went_well = _end(each, ledger, ending=stopped or interruption.signum is not None)
                    stopped |= stop_at_failure and not went_well
                stopped |= interruption.signum is not None
                if stopped:
                    waiting.clear()
                    for each in running:
                        each.ask_to_end()
        finally:
            for each in running:  # something went wrong here
                each.ask_to_end()
    interruption.raise_if_asked()


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
    asked = (job.words, job.folder, job.config, job.seen.fingerprint)
    process = context.Process(target=_child, args=(*asked, share, own), name=job.name)
    process.start()
    own.close()
    return _Running(job=job, process=process, answer=answer, share=share)


def _end(ended: _Running, ledger: Ledger, *, ending: bool) -> bool:
    """Take down what became of a run whose process is no more; its record decides. Whether it did not fail.

    ending: the sweep is, so that a run that was cut off is to be resumed.
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
        ledger.ended(ended.job)
        return True
    if ending and not said:
        ledger.cut(ended.job)
        return True
    if not said and status == "interrupted":
        said = "a signal to its process alone interrupted it; it is saved, and the same command goes on from there"
    elif not said:
        how = f"with {signal.Signals(-code).name}" if code is not None and code < 0 else f"with exit code {code}"
        said = f"its process ended {how} without a word; see {ended.job.folder / 'train.log'}"
        try:
            close_dead(ended.job.folder, said)
        except RunError as error:  # a full disk, or something of the run that still holds its lock
            said += f", and its record could not be closed: {error}"
    ledger.ended(ended.job, said)
    return False


def _child(
    words: Sequence[str], folder: Path, config: Config, fingerprint: str, share: Share, answer: Connection
) -> None:
    """One run, in a process of its own; what any of it prints goes to the run's train.log."""
    os.setsid()
    os.environ["OMP_NUM_THREADS"] = str(share.threads)  # for the other processes of a distributed run
    if share.gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(_visible(share.gpus))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from imgrec import allocator, launch, runfolder

    allocator.keep_freed_memory()
    Interruption.patient = True  # a group's signal and this sweep's own ask for the same
    try:
        with Interruption().watched(), surroundings():
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            runfolder.prepare(folder)
            log = os.open(folder / "train.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            os.dup2(log, 1)
            os.dup2(log, 2)
            import torch

            torch.set_num_threads(share.threads)
            launch.carry_out(words, folder, config, fingerprint=fingerprint, quiet=True)
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
