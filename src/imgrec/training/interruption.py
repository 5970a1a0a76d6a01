"""End a run on SIGTERM, Ctrl-C or SIGHUP: it saves its state at the next step, and the same command continues it.

When a terminal closes, the kernel and often the shell as well send SIGHUP. Under nohup SIGHUP stays ignored.

SIGUSR1 ends a run as well, and puts a SLURM job back into the queue. SLURM sends it before the job's time ends
(`#SBATCH --signal=USR1@90`, for a run that `srun` started).
"""

import contextlib
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

from imgrec import ranks
from imgrec.errors import Interrupted, interruption_in

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)


class Interruption:
    """Note signals. They take effect at once outside of the training loop; inside, the loop checks them at every step.

    Args:
        ignore_repeated: True to ignore a second signal, for a pool's process, which has no terminal. Otherwise a second
            signal ends the process at once without saving, unless it is SIGHUP.
    """

    def __init__(self, *, ignore_repeated: bool = False) -> None:
        self.signum: int | None = None
        self._ignore_repeated = ignore_repeated
        self._deferred: Callable[[], bool] = lambda: False

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
        """Install the handlers, also in place of Lightning's, which would end a step without saving."""
        if threading.current_thread() is threading.main_thread():
            for signum in SIGNALS:
                if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN:
                    signal.signal(signum, self._note)

    @contextlib.contextmanager
    def deferred(self, once: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """Note signals without acting on them while the block runs.

        Args:
            once: Returns False as long as signals still take effect at once.
        """
        self._deferred = once
        try:
            yield
        finally:
            self._deferred = lambda: False

    def raise_if_asked(self) -> None:
        """Raise Interrupted if a signal was noted."""
        if self.signum is not None:
            self.stop()

    def stop(self) -> NoReturn:
        """Raise Interrupted for the signal to this process, or to another process of the same run."""
        raise Interrupted(self.signum or signal.SIGTERM)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is not None:
            if self._ignore_repeated or signum == signal.SIGHUP:
                return
            os._exit(128 + signum)
        self.signum = signum
        if not self._deferred():
            raise Interrupted(signum)


@contextlib.contextmanager
def requeued_at_once() -> Iterator[None]:
    """Put a SLURM job back into the queue for a SIGUSR1 that comes in the block before the run handles its signals.

    SIGUSR1 would otherwise kill a process that is only loading its libraries or looking at its images. Nothing happens
    in a thread other than the main one, or where a program handles the signal itself.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGUSR1) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGUSR1, _raise)
    try:
        yield
    except SystemExit:  # another process than the first of a run, which has told the first why it ends
        raise
    except BaseException as error:
        if cut := interruption_in(error):
            requeue(cut)
            raise cut from None
        raise
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)


def _raise(signum: int, frame: FrameType | None) -> NoReturn:
    raise Interrupted(signum)


def requeue(cut: Interrupted) -> None:
    """Ask SLURM to start this job again, and log a failure.

    Do nothing outside of SLURM, for another signal than SIGUSR1, or a second time for the same interruption. Of the
    processes of a distributed run, all of which get the signal, only the first one asks, once the run is saved.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if job is None or cut.exit_code != 128 + signal.SIGUSR1 or cut.requeued or ranks.rank() > 0:
        return
    cut.requeued = True
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        job = f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID', '0')}"
    saved = cut.saved is True
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip()
        log.error("SLURM job %s%s cannot be requeued: %s; submit it again", job, " is saved, but" * saved, reason)
    else:
        log.info("SLURM job %s is %srequeued", job, "saved and " * saved)
