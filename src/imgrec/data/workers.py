"""Check that the processes that prepare batches can start, and control how they end: with the run, not before."""

import contextlib
import ctypes
import errno
import multiprocessing
import os
import signal
import sys
import threading
from typing import Any

from torch.utils.data import DataLoader

from imgrec import sockets
from imgrec.data import batch_transport
from imgrec.errors import RunError, UsageError, shown

_GRACE = 10  # seconds that a worker continues after SIGTERM, so that the run can reach its next step and save
_PR_SET_PDEATHSIG = 1  # prctl(2): the signal that a process gets when its parent ends


def possible(wanted: int) -> int:
    """Return `wanted`, or 0 if /dev/shm has no room for the locks that workers need, or TMPDIR none for their sockets.

    The log then says so.
    """
    if wanted and (place := sockets.unusable()) is not None:
        batch_transport.warn_once(
            "workers",
            f"TMPDIR must be a path of at most {sockets.LONGEST} bytes for data.num_workers={wanted}, whose processes"
            f" meet in sockets there, got {shown(place)}; batches are prepared without workers, which is slower; set"
            " TMPDIR=/tmp, or give data.num_workers=0",
        )
        return 0
    if not wanted or sys.platform != "linux":
        return wanted
    try:
        # a loader has a queue for each worker and one for batches, with three locks each; two loaders may be open
        held = [multiprocessing.Lock() for _ in range(2 * 3 * (wanted + 3))]
    except OSError as error:
        batch_transport.warn_once(
            "workers",
            f"{batch_transport.SHARED} ({batch_transport.size()}) cannot hold what data.num_workers={wanted} need:"
            f" {error.strerror}; batches are prepared without workers, which is slower; enlarge it (docker run"
            " --shm-size=2g), or give data.num_workers=0",
        )
        return 0
    held.clear()
    return wanted


def told(error: BaseException, count: int, ahead: str = "") -> RunError | None:
    """Return the error message for an error that ended workers or kept them from starting; None for another error.

    If the clean-up after such an error fails as well, as Lightning's does, the first error counts.

    Args:
        error: The error.
        count: The number of workers.
        ahead: What the same command does with the run; empty where no run is trained.
    """
    first, chain = error, {id(error)}
    while first.__context__ is not None and id(first.__context__) not in chain:
        first = first.__context__
        chain.add(id(first))
    if isinstance(error, (RunError, UsageError)):
        return None
    return _sentence(error, count, ahead) or _sentence(first, count, ahead)


def _sentence(error: BaseException, count: int, ahead: str) -> RunError | None:
    text = " ".join(str(error).split())
    if (isinstance(error, OSError) and error.errno == errno.EAGAIN) or "can't start new thread" in text:
        limit = ""
        with contextlib.suppress(ImportError, ValueError):  # there is no such limit, as on Windows
            import resource

            limit = f" (ulimit -u: {resource.getrlimit(resource.RLIMIT_NPROC)[0]})"
        return RunError(
            f"no more processes or threads may be started here{limit}, got: {text}; lower data.num_workers, now"
            f" {count}, or raise the limit"
        )
    if isinstance(error, RuntimeError) and text.startswith("DataLoader worker (pid"):
        return RunError(
            f"a process that prepares batches must live as long as the run, got: {text}; lower data.num_workers, now"
            f" {count}, or data.batch_size, which spares memory{ahead and f': the same command {ahead}'}"
        )
    return None


def follow_parent(worker: int) -> None:
    """Make a worker end with the training process, however that ends, and ignore signals that the process handles.

    Ctrl-C, a closed terminal and the end of a job reach every process of the group, but the run still needs its workers
    until the next step. A worker that outlived a killed run would keep the run's lock, and its memory, for seconds.
    """
    for signum in (signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    if hasattr(signal, "SIGBUS"):
        signal.signal(signal.SIGBUS, signal.SIG_DFL)  # torch's handler prints a line; the run itself says how it ended
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_leave_when_told, args=(os.getppid(),), daemon=True).start()


def end(loader: DataLoader[Any]) -> None:
    """End the workers of a loader that is no longer used; without workers, or a second time, do nothing.

    After an error, its stack frames reference the workers until the garbage collector runs. The collector may free the
    object that tells workers to end before it frees the workers. Each worker would then end by itself seconds later,
    and the next run would wait for it.
    """
    iterator = loader._iterator
    if iterator is not None:
        iterator._shutdown_workers()  # type: ignore[attr-defined]


def _leave_when_told(parent: int) -> None:
    """End this worker at once on SIGTERM from its parent, which Python sends at exit to workers that still run.

    On SIGTERM from another process, such as the end of a job, the worker waits, so that the run can reach its next
    step.
    """
    if signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        signal.sigtimedwait({signal.SIGTERM}, _GRACE)
    os._exit(0)
