"""SIGTERM, Ctrl-C and SIGHUP end a run in order: at the next step it is saved, and goes on when started again.

SIGHUP comes when a terminal is closed, from the kernel and often from the shell as well. Under nohup it stays ignored.

SIGUSR1 does so too, and puts a SLURM job back into the queue: the warning before its time is over
(`#SBATCH --signal=USR1@90`, to a run that `srun` started).
"""

import contextlib
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from imgrec.errors import Interrupted

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)


class Interruption:
    """Notes signals. Outside of the training loop they take effect at once; inside, the loop asks at every step.

    Args:
        ignore_repeated: True to ignore a second signal, for a process of a pool, which no terminal reaches. Otherwise a
            second signal ends the process at once, unsaved, unless it is SIGHUP.
    """

    def __init__(self, *, ignore_repeated: bool = False) -> None:
        self.signum: int | None = None
        self._ignore_repeated = ignore_repeated
        self._deferred = False

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Handle the signals while the block runs; in the main thread only, as Python allows no other."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {signum: signal.getsignal(signum) for signum in SIGNALS}
        self.install()
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def install(self) -> None:
        """Take the signals over, also from Lightning, whose handlers would end a step unsaved."""
        if threading.current_thread() is threading.main_thread():
            for signum in SIGNALS:
                if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN:
                    signal.signal(signum, self._note)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """While the block runs, a signal waits until somebody asks."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def raise_if_asked(self) -> None:
        """End here if a signal came."""
        if self.signum is not None:
            self.stop()

    def stop(self) -> NoReturn:
        """End here, by the signal that came to this process, or to another one of the same run."""
        raise Interrupted(self.signum or signal.SIGTERM)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is not None:
            if self._ignore_repeated or signum == signal.SIGHUP:
                return
            os._exit(128 + signum)
        self.signum = signum
        if not self._deferred:
            raise Interrupted(signum)


def requeue() -> None:
    """Ask SLURM to start this job again; where that cannot be done, the log says so. Outside of SLURM: nothing."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        job = f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID', '0')}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip()
        log.error("SLURM job %s is saved, but cannot be requeued: %s; submit it again", job, reason)
    else:
        log.info("SLURM job %s is saved and requeued", job)
