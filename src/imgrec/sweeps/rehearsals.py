"""Measure kinds of runs in new processes, as many at a time as the launcher has, for an estimate of a sweep."""

import json
import multiprocessing
import os
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgrec import gpus
from imgrec.cores import THREADS
from imgrec.errors import RunError, interruption_in, sentence
from imgrec.job import Job
from imgrec.sweeps import pool
from imgrec.sweeps.shares import Share
from imgrec.training.interruption import SIGNALS, Interruption

if TYPE_CHECKING:
    from imgrec.sweeps.rehearsal import Rehearsal

SECONDS = 10.0  # about how long a kind of run is measured, besides the start of its process


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A kind of run as it was measured.

    Attributes:
        times: One for each process that measured at the same time.
        start: Seconds until a process has imported the libraries; 0 where they had been imported before.
        process: Seconds of beginning and ending a process besides what it did.
    """

    times: Sequence["Rehearsal"]
    start: float
    process: float

    @property
    def images(self) -> int:
        """The number of images that an epoch trains on."""
        return self.times[0].train_images

    @property
    def flops_per_image(self) -> float:
        """FLOPs of the forward pass of an image."""
        return self.times[0].flops_per_image

    def seconds(self, epochs: int, *, first: bool) -> tuple[float, float, float]:
        """Return the seconds of a run, low, usual and high, as `Rehearsal.seconds`: over all processes."""
        found = [each.seconds(epochs, first=first) for each in self.times]
        return (
            min(low for low, _, _ in found),
            statistics.fmean(usual for _, usual, _ in found),
            max(high for _, _, high in found),
        )


def measure(job: Job, parts: Sequence[Share]) -> Measured:
    """Measure a kind of run, in as many processes at the same time as there are shares. Nothing is left behind.

    Args:
        job: A run of the kind.
        parts: The share of the machine of each process.

    Raises:
        RunError: A run of the kind fails.
        Interrupted: The process was asked to end.
    """
    try:
        with Interruption().watched():
            return _measure(job, parts)
    except BaseException as error:
        if cut := interruption_in(error):
            cut.resumable = False
        raise


def _measure(job: Job, parts: Sequence[Share]) -> Measured:
    began = time.perf_counter()
    context = pool.served()
    start = time.perf_counter() - began
    with tempfile.TemporaryDirectory(prefix="imgrec-") as place:
        processes, pipes, started, ended = [], [], list[float](), list[float]()
        try:
            for number, share in enumerate(parts):
                pipe, theirs = context.Pipe(duplex=False)
                folder = str(Path(place) / str(number))
                process = context.Process(target=_main, args=(job.to_json(), share, folder, SECONDS, theirs))
                process.start()
                started.append(time.perf_counter())
                theirs.close()
                processes.append(process)
                pipes.append(pipe)
            said = [_said(pipe, job) for pipe in pipes]
            for process in processes:
                process.join()
                ended.append(time.perf_counter())
        finally:
            for process in processes:
                if process.is_alive():
                    process.terminate()
                    process.join(1)
                    process.kill()
                process.join()
    from imgrec.sweeps.rehearsal import Rehearsal

    inside = [each.pop("inside") for each in said]
    around = min(over - begun - spent for begun, over, spent in zip(started, ended, inside, strict=True))
    times = [Rehearsal(**{**each, "step": tuple(each["step"])}) for each in said]
    return Measured(times=times, start=start, process=around)


def _said(pipe: Connection, job: Job) -> dict[str, Any]:
    """Wait for what a process has measured.

    Raises:
        RunError: It failed, or was killed.
    """
    wait([pipe])
    try:
        found: dict[str, Any] = json.loads(pipe.recv())
    except EOFError:
        found = {"error": "its process was killed; there may be too little memory"}
    if "error" in found:
        raise RunError(
            f"sweep.estimate=true measures a run such as {job.name}, which has failed: {found['error']}; mend it, as"
            " the run of the sweep would fail as well"
        )
    return found


def _main(text: str, share: Share, place: str, seconds: float, pipe: Connection) -> None:
    """Measure in this process. What it prints goes into a file of the temporary folder."""
    folder = Path(place)
    folder.mkdir()
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ[THREADS] = str(share.threads)
    if share.gpus:
        os.environ[gpus.VISIBLE] = ",".join(share.gpus)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    import torch

    from imgrec import allocator
    from imgrec.sweeps.rehearsal import rehearse

    torch.set_num_threads(share.threads)
    allocator.keep_freed_memory()
    began = time.perf_counter()
    try:
        found = asdict(rehearse(Job.from_json(text, "the sweep").config, folder, seconds))
        found["inside"] = time.perf_counter() - began
    except Exception as error:
        found = {"error": sentence(error)}
    pipe.send(json.dumps(found))


def _end_with_parent() -> None:
    """Wait for the end of the process that asked for the measurement, and end this one at once."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)
