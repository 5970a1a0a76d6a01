"""Read who holds a lock file, and judge whether that process still does. Imports no torch.

A process that holds a lock has an flock on its file, which the system gives up at the process' end. On a file system
that several machines share, an flock may hold for one machine only (Lustre's localflock), or be refused. So the file
contains a lease as well: a line that names the process. The process renews the file's mtime every RENEWED seconds.

1. An flock that is held decides: so is the lock.
2. An empty file is a lock that was given up.
3. On the process' own machine its end decides, however old the lease is: a process that is stopped holds its lock.
4. From another machine, the lease is over LEASE seconds after its last renewal. Both times come from the clock that
   dates the files, never from a machine's own.
"""

import errno
import fcntl
import json
import os
import secrets
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

from imgrec import disk, file_clock, process_identity, value_checks
from imgrec.process_identity import Machine

RENEWED = 30.0  # seconds between two renewals
LEASE = 120.0  # seconds after which a lease that is not renewed is over: three renewals may fail
MOST = 10_000  # bytes of a lease
_NO_FILE = (errno.EINVAL, errno.ELOOP, errno.ENXIO)  # errors for what is no regular file, such as a folder

Flock = Literal["free", "held", "refused"]
"""What an attempt to lock a file gives; `refused` where the file system has no flock."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The process that a lock file names.

    Attributes:
        host, boot, namespace: Its machine, as in `process_identity.Machine`.
        pid, start: The process, as in `process_identity.is_alive`.
        job: The SLURM or Ray job that it belongs to; None if there is none.
        token: A random text, another one for each time that a lock is taken.
        flock: True if the process has an flock as well.
    """

    host: str
    boot: str
    namespace: str
    pid: int
    start: int | None
    job: str | None
    token: str
    flock: bool

    @property
    def who(self) -> str:
        job = f" ({self.job})" if self.job else ""
        return f"process {self.pid} on {self.host}{job}"

    @property
    def machine(self) -> Machine:
        return Machine(host=self.host, boot=self.boot, namespace=self.namespace)

    def to_line(self) -> bytes:
        return f"{json.dumps(asdict(self))}\n".encode()

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Return the lease that `to_line` wrote.

        Raises:
            ValueError: It is none.
        """
        try:
            rows = value_checks.mapping(json.loads(line), "a lease")
            texts = {key: value_checks.name(rows[key], key) for key in ("host", "boot", "namespace", "token")}
            start, job = rows["start"], rows["job"]
            return cls(
                **texts,
                pid=value_checks.integer(rows["pid"], "pid", low=1, high=2**31 - 1),
                start=None if start is None else value_checks.integer(start, "start"),
                job=None if job is None else value_checks.name(job, "job"),
                flock=rows["flock"] is True,
            )
        except (KeyError, RecursionError) as error:
            raise ValueError(f"no lease, as it has no {error}") from error


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that holds a lock.

    Attributes:
        lease: What the file says; None if that is empty, damaged, or an older version's.
        rest: Seconds until the lease is over unless it is renewed; None if it is certain that the process lives.
        known: False if it is not known whether the process lives, as the folder cannot be written to.
        renewed: The file's mtime in nanoseconds, which changes with each renewal.
    """

    lease: Lease | None
    rest: float | None = None
    known: bool = True
    renewed: int = 0

    @property
    def who(self) -> str:
        return self.lease.who if self.lease is not None else "another process"


class InUseError(Exception):
    """Another process holds the lock."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(holder.who)
        self.holder = holder


def own(*, flock: bool) -> Lease:
    """Return a new lease of this process."""
    here = process_identity.machine()
    return Lease(
        host=here.host,
        boot=here.boot,
        namespace=here.namespace,
        pid=os.getpid(),
        start=process_identity.started(os.getpid()),
        job=process_identity.batch_job(),
        token=secrets.token_hex(16),
        flock=flock,
    )


def read(path: Path) -> Lease | None:
    """Return the lease in the file; None if the file is empty, missing or damaged.

    Raises:
        OSError: It cannot be read.
    """
    try:
        return Lease.from_line(disk.content(path, most=MOST))
    except (FileNotFoundError, ValueError):
        return None


def holder(path: Path) -> Holder | None:
    """Return the process that holds the lock; None if none does. Nothing is written unless rule 4 decides.

    Args:
        path: The lock file, which need not exist.
    """
    try:
        with disk.opened(path) as file:
            flock = _shared(file.fileno())
            line, status = file.read(MOST), os.fstat(file.fileno())
    except (FileNotFoundError, NotADirectoryError):  # no lock was ever taken
        return None
    except OSError as error:
        return None if error.errno in _NO_FILE else Holder(lease=None, known=False)
    return judged(path, line, status, flock)


def judged(path: Path, line: bytes, status: os.stat_result, flock: Flock, *, fresh: bool = False) -> Holder | None:
    """Return the process that holds the lock according to what was read; None if none does.

    Args:
        path: The lock file.
        line: Its content.
        status: Its state.
        flock: Whether another process has an flock on it.
        fresh: True to read the clock of the files in any case.
    """
    try:
        lease = Lease.from_line(line) if line else None
    except ValueError:  # what is damaged, or a later version's, is judged by its age
        lease = None
    if flock == "held":
        return Holder(lease=lease, renewed=status.st_mtime_ns)
    if not line:
        return None
    if lease is not None and _is_here(lease):
        if lease.flock and flock == "free":
            return None
        if lease.namespace == process_identity.machine().namespace:
            alive = process_identity.is_alive(lease.pid, lease.start)
            return Holder(lease=lease, renewed=status.st_mtime_ns) if alive else None
    try:
        rest = LEASE - (file_clock.time_on(path.parent, fresh=fresh) - status.st_mtime)
    except OSError:
        return Holder(lease=lease, known=False, renewed=status.st_mtime_ns)
    return Holder(lease=lease, rest=rest, renewed=status.st_mtime_ns) if rest > 0 else None


def is_at(descriptor: int, path: Path) -> bool:
    """Return True if the open file is the one at the path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False


def exclusive(descriptor: int) -> Flock:
    """Lock the file for this process alone, and return "free" if that was possible."""
    for patience in (0.02, 0.05, 0.1, 0.0):  # `holder` in another process locks it for a moment
        found = _attempt(descriptor, fcntl.LOCK_EX)
        if found != "held" or not patience:
            return found
        time.sleep(patience)
    return "held"


def _shared(descriptor: int) -> Flock:
    """Lock the file together with others that only look, so that several processes can look at once."""
    return _attempt(descriptor, fcntl.LOCK_SH)


def _attempt(descriptor: int, kind: int) -> Flock:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return "held"
    except OSError:
        return "refused"
    return "free"


def _is_here(lease: Lease) -> bool:
    here = process_identity.machine()
    return (lease.host, lease.boot) == (here.host, here.boot)
