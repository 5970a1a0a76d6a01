"""Hold a folder for this process alone, also where machines share a file system. Imports no torch.

The lock file's lease (`lease`) decides: the folder belongs to the process whose token is in the file at its path.

- Taking: the file is replaced by one with the own token, in one step (rename), and read back. Meanwhile a second file
  (`lock_turn`), which one process alone can create, makes others wait. So of several that take a lock at the same
  moment, one wins. Both files that were found and made stay locked with flock, which refuses older versions as well.
- Keeping: a thread renews the lease. Before each change in the folder (`folder_guard`) the process reads the file,
  unless it has done so within a second. If the last renewal is half a lease ago (the process was stopped, the machine
  slept), it renews first, in its turn: nobody can take the lease between the two.
- Losing: if the file has another token, or is gone, every change raises LostFolderError, and the process ends.

Guarantee: two processes do not change the files of one folder, with two exceptions. A process that is stopped between
its last look at the lock and the system call that changes a file, for longer than a lease, still carries out that one
call. Where nodes date files with clocks of their own which differ by more than half a lease (Lustre), a lease may be
taken too early; its holder then ends at its next change.
"""

import contextlib
import errno
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from imgrec import disk, folder_guard, lease, lock_turn, process_identity
from imgrec.errors import LostFolderError, RunError, shown
from imgrec.lease import MOST, Holder, InUseError, Lease

log = logging.getLogger(__name__)

_FRESH = 1.0  # seconds for which a look at the lock file counts
_AGAIN = 5.0  # seconds until a renewal that failed is tried again
_LOOK = 0.5  # seconds between two looks at a lease that may be over soon
_LEAVING = 10.0  # seconds for a process that has lost its folder to end by itself


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock file's folder for this process while the block runs, however the block ends.

    If a process of another machine may have ended, this one waits until its lease is renewed or over.

    Args:
        path: The lock file.

    Raises:
        RunError: Another process holds the lock, or the file cannot be written.
        LostFolderError: Another process has taken the folder. Changes of files there raise it in the block.
    """
    lock = _taken(path)
    try:
        with folder_guard.guarded(path.parent, lock.confirm), lock.renewed():
            yield
    finally:
        lock.give_up()


def _taken(path: Path) -> "_Lock":
    first: Holder | None = None
    while True:
        try:
            return _take(path)
        except OSError as error:
            raise RunError(f"{shown(path)} cannot be locked: {error.strerror}; free the disk, or mend that") from error
        except InUseError as refusal:
            found = refusal.holder
            if found.rest is None or (first and (first.lease, first.renewed) != (found.lease, found.renewed)):
                raise _in_use(path, found) from None
            if first is None:
                first = found
                log.warning(
                    "%s: %s held it %.0f seconds ago; waiting until it says that it lives, or for %.0f seconds",
                    shown(path.parent),
                    found.who,
                    max(0.0, lease.LEASE - found.rest),
                    found.rest,
                )
            time.sleep(min(_LOOK, max(0.01, found.rest)))


def _in_use(path: Path, found: Holder) -> RunError:
    ways = "wait for it, or stop it"
    if not found.known:
        ways += f"; if it has ended, remove {shown(path)}"
    return RunError(f"{path.parent} is in use: {found.who} runs it; {ways}")


def _take(path: Path) -> "_Lock":
    """Take the lock.

    Raises:
        InUseError: Another process holds it, or is about to.
        OSError, RunError: The file cannot be written.
    """
    if (found := lease.holder(path)) is not None:
        raise InUseError(found)
    with lock_turn.turn(path) as turn:
        begun = process_identity.elapsed()
        try:
            descriptors = [disk.appending(path)]
        except OSError as error:
            raise RunError(f"{shown(path)} must be a file to lock: {error.strerror}; remove it") from error
        try:
            _refuse_held(path, descriptors[0])
            with disk.Partial(path) as new:
                descriptors.append(os.dup(new.file.fileno()))
                own = lease.own(flock=lease.exclusive(descriptors[1]) == "free")
                new.file.write(own.to_line())
                new.sync()
                if not lease.is_at(turn, lock_turn.place_of(path)):  # others took it for that of one that had ended
                    raise InUseError(Holder(lease=None))
                new.place()
            if (now := lease.read(path)) != own:
                raise InUseError(Holder(lease=now))
        except BaseException:
            for descriptor in descriptors:
                os.close(descriptor)
            raise
    return _Lock(path, own, descriptors, begun)


def _refuse_held(path: Path, descriptor: int) -> None:
    """Lock the file for this process with flock, if the file system can, and judge its lease.

    Raises:
        InUseError: Another process holds the lock.
    """
    flock = lease.exclusive(descriptor)
    with disk.opened(path) as file:
        line, status = file.read(MOST), os.fstat(file.fileno())
    found = lease.judged(path, line, status, flock, fresh=True)
    if found is not None or not lease.is_at(descriptor, path):  # or somebody has replaced the file out of turn
        raise InUseError(found or Holder(lease=None))


class _Lock:
    """A lock that this process holds.

    Args:
        path: The lock file.
        own: The lease in it.
        descriptors: The files that are locked with flock. The last one is the lock file.
        begun: When the lease began, as `elapsed`.
    """

    def __init__(self, path: Path, own: Lease, descriptors: list[int], begun: float) -> None:
        self._path = path.absolute()
        self._own, self._descriptors = own, descriptors
        self._renewed = self._seen = begun
        self._lost: LostFolderError | None = None
        self._pid = os.getpid()
        self._one_at_a_time = threading.Lock()

    def confirm(self) -> None:
        """Make sure that this process still holds the lock. It has looked at the file within the last second.

        Raises:
            LostFolderError: It does not.
            OSError: The file system does not say.
        """
        if os.getpid() != self._pid:  # a worker that was forked; it writes nothing of the run
            return
        with self._one_at_a_time:
            now = process_identity.elapsed()
            if self._lost is not None:
                raise LostFolderError(str(self._lost))
            if now - self._renewed >= lease.LEASE / 2:
                self._renew()
            elif now - self._seen >= _FRESH:
                self._look()

    @contextlib.contextmanager
    def renewed(self) -> Iterator[None]:
        """Renew the lease in a thread while the block runs. If it is lost, the process ends."""
        over = threading.Event()
        thread = threading.Thread(target=self._renew_until, args=(over,), daemon=True, name="imgrec-lease")
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # signals are the main thread's
        thread.start()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            yield
        finally:
            over.set()
            thread.join(_AGAIN)  # a file system that is out of reach may hold it up

    def give_up(self) -> None:
        """Empty the lock file, which others see at once, and unlock it."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptors[-1], 0)  # this process' own file, even if another is at the path now
        for descriptor in self._descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _renew_until(self, over: threading.Event) -> None:
        pause = lease.RENEWED
        while not over.wait(pause):
            try:
                with self._one_at_a_time:
                    self._renew()
                pause = lease.RENEWED
            except LostFolderError as error:
                if not over.wait(_LEAVING):
                    log.error("%s", error)
                    os._exit(1)
                return
            except OSError:
                pause = min(_AGAIN, lease.RENEWED)

    def _renew(self) -> None:
        begun = process_identity.elapsed()
        if begun - self._renewed < lease.LEASE / 2:
            self._look()
            os.utime(self._descriptors[-1])  # without a time: the file server's clock
        else:
            try:
                with lock_turn.turn(self._path):
                    begun = process_identity.elapsed()
                    self._look()
                    os.utime(self._descriptors[-1])
            except InUseError as error:
                raise OSError(errno.EBUSY, f"{error} is about to take it", str(self._path)) from error
        self._renewed = begun

    def _look(self) -> None:
        """Read the lock file, and raise LostFolderError if it is not this process' own."""
        begun = process_identity.elapsed()
        now = lease.read(self._path)
        if now != self._own:
            self._lost = self._lost or self._loss(now, begun)
            raise LostFolderError(str(self._lost))
        self._seen = begun

    def _loss(self, now: Lease | None, when: float) -> LostFolderError:
        folder = shown(self._path.parent)
        if now is None:
            return LostFolderError(
                f"{folder} is not this process' own any more, as another one has had it meanwhile, or its"
                f" {self._path.name} was removed: this process changes nothing there and ends; start the same command"
                " again, which does what is left"
            )
        return LostFolderError(
            f"{folder} was taken by {now.who}, as this process had not renewed its lease for"
            f" {when - self._renewed:.0f} seconds (it was stopped, or the file system was out of reach): it changes"
            " nothing there and ends; leave the run to the other process"
        )
