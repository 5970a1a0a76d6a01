"""How the processes that prepare batches end: with the run, and not before it."""

import ctypes
import os
import signal
import sys
import threading
from typing import Any

from torch.utils.data import DataLoader

_GRACE = 10  # seconds that a worker goes on after SIGTERM, for the run to reach its next step and save
_PR_SET_PDEATHSIG = 1  # prctl(2): the signal that a process gets when its parent ends


def follow_parent(worker: int) -> None:
    """Let a worker end with the training process, however that ends, and leave signals to it.

    Ctrl-C and a job's end go to every process of the group, and the run still needs its workers up to the next step.
    A worker that outlived a killed run would hold the run's lock, and its memory, for seconds.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_leave_when_told, args=(os.getppid(),), daemon=True).start()


def end(loader: DataLoader[Any]) -> None:
    """End the workers of a loader that nobody iterates over any more; with none, or a second time, nothing.

    After an error its frames hold them until the garbage collector comes by, which then takes what tells them to end
    before them: each would notice by itself only, seconds later, and what runs next would wait for it.
    """
    iterator = loader._iterator
    if iterator is not None:
        iterator._shutdown_workers()  # type: ignore[attr-defined]


def _leave_when_told(parent: int) -> None:
    """End this worker at its parent's SIGTERM at once: Python sends it at its exit to workers that are left over.

    Anybody else's, such as a job's end, leaves the run the time to reach its next step.
    """
    if signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        signal.sigtimedwait({signal.SIGTERM}, _GRACE)
    os._exit(0)
