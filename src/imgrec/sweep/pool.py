"""launcher=pool: several runs of a sweep at a time, each in a process of its own.

Processes are forked from a server that has imported what a run needs and computed nothing. A process that dies hard is
a failed run. Each process leads a session of its own, so that Ctrl-C reaches this one alone, which asks them to save;
and each ends itself, saved, when this one is gone.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from imgrec.config.root import Config
from imgrec.errors import Interrupted, RunError, sentence
from imgrec.sweep.jobs import Job, close_dead
from imgrec.sweep.ledger import Ledger
from imgrec.training.interruption import Interruption

_LOOK = 0.2  # seconds from one look for a signal to the next
_INTERRUPTED = (130, 138, 143)  # exit codes of a run that was saved
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
        """Once: asked twice, it would end without saving."""
        if not self.asked and self.process.is_alive():
            self.asked = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid or 0, signal.SIGTERM)


def shares(configs: Sequence[Config], processes: int) -> list[Share]:
    """Divide the machine among that many processes at a time; 0: as many as there are GPUs, else cores, for.

    Raises RunError where the runs ask for more GPUs than there are.
    """
    import torch

    devices = max(config.trainer.devices for config in configs)
    gpus = 0 if all(config.trainer.accelerator == "cpu" for config in configs) else torch.cuda.device_count()
    # what a container or SLURM leaves of the machine, where the system tells
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if gpus:
        count = min(processes or gpus // devices, len(configs))
        if count == 0:
            raise RunError(f"trainer.devices must be at most {gpus}, the GPUs of this machine, got {devices}")
        groups = gpus // devices
        return [
            Share(
                threads=max(1, cores // (count * devices)),
                gpus=tuple(range(k % groups * devices, k % groups * devices + devices)),
            )
            for k in range(count)
        ]
    count = min(processes or max(1, cores // devices), len(configs))
    return [Share(threads=max(1, cores // (count * devices)))] * count


def run(
    jobs: Sequence[Job], ledger: Ledger, parts: Sequence[Share], interruption: Interruption, *, stop_at_failure: bool
) -> None:
    """Carry the jobs out, as many at a time as there are shares. Raises Interrupted when all have saved and ended."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    waiting, free, running, stopped = list(jobs), list(parts), list[_Running](), False
    with interruption.deferred():
        try:
            while running or waiting:
                while waiting and free and interruption.signum is None:
                    running.append(_start(context, waiting.pop(0), free.pop()))
                    ledger.began(running[-1].job)
                wait([each.process.sentinel for each in running], timeout=_LOOK)
                for each in [each for each in running if not each.process.is_alive()]:
                    running.remove(each)
                    free.append(each.share)
                    stopped |= _end(each, ledger) and stop_at_failure
                if stopped or interruption.signum is not None:
                    waiting.clear()
                    for each in running:
                        each.ask_to_end()
        finally:
            for each in running:  # something went wrong here
                each.ask_to_end()
    interruption.raise_if_asked()


def _start(context: multiprocessing.context.ForkServerContext, job: Job, share: Share) -> _Running:
    answer, own = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(job.words, job.folder, share, own), name=job.name)
    process.start()
    own.close()
    return _Running(job=job, process=process, answer=answer, share=share)


def _end(ended: _Running, ledger: Ledger) -> bool:
    """Take down what became of a process that is no more; whether its run failed."""
    said = ""
    with contextlib.suppress(EOFError), ended.answer:
        said = ended.answer.recv() if ended.answer.poll() else ""
    ended.process.join()
    code = ended.process.exitcode
    ended.process.close()
    if code == 0:
        ledger.ended(ended.job)
    elif code in _INTERRUPTED:
        ledger.cut(ended.job)
    else:
        if not said:
            how = f"with {signal.Signals(-code).name}" if code is not None and code < 0 else f"with exit code {code}"
            said = f"its process ended {how} without a word; see {ended.job.folder / 'train.log'}"
            close_dead(ended.job.folder, said)
        ledger.ended(ended.job, said)
        return True
    return False


def _child(words: Sequence[str], folder: Path, share: Share, answer: Connection) -> None:
    """One run, in a process of its own; what any of it prints goes to the run's train.log."""
    os.setsid()
    if share.gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(_visible(share.gpus))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from imgrec import allocator, launch, runfolder

    allocator.keep_freed_memory()
    try:
        runfolder.prepare(folder)
        log = os.open(folder / "train.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        import torch

        torch.set_num_threads(share.threads)
        launch.carry_out(words, folder, quiet=True)
    except Interrupted as interrupted:
        sys.exit(interrupted.exit_code)
    except Exception as error:
        answer.send(sentence(error))
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
