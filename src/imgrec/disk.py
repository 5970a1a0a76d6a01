"""Files in folders that may be a stranger's: regular ones are read, whole ones are written, no link is written through.

A file grows under a name that nobody can guess, in a file that is made anew, is forced to the disk, and takes its place
in one step. The process that makes it holds it by flock, so that one whose owner was killed is known, and removed by
the next that writes in the same folder.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import stat
import time
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import IO, Self

_ENDING = ".partial"
_NAME = 200  # bytes of the name of what it will be; file systems end at 255
_AGE = 86400.0  # seconds after which a temporary file is left over for sure, where the file system has no flock
_NO_FSYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)  # network mounts, of a folder
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def opened(path: Path, *, most: int | None = None) -> BufferedReader:
    """A regular file, open for reading; a link to one too. Opening waits for nothing, a pipe's writer included.

    most: bytes. Raises OSError, also for what is no regular file, and for a larger one.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        status = os.fstat(descriptor)
        _refuse_odd(path, status)
        if most is not None and status.st_size > most:
            raise OSError(errno.EFBIG, f"it has {status.st_size} bytes, and at most {most} are read", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def content(path: Path, *, most: int) -> bytes:
    """The bytes of a regular file. Raises OSError as `opened`."""
    with opened(path, most=most) as file:
        return file.read(most)


def appending(path: Path) -> int:
    """A descriptor that appends to a regular file, which is made where there is none.

    Raises OSError, also for a link and for what is no regular file.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a link, and no link is written through", str(path)) from error
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "it is a named pipe or a socket, which is no regular file", str(path)) from error
        raise
    try:
        _refuse_odd(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class Partial:
    """A file that will take the place of `path`: `with Partial(path) as new: new.file.write(...); new.place()`.

    What is not placed is removed. like: begin as the same file as this one (a hard link, else a copy of its bytes).
    """

    def __init__(self, path: Path, *, like: Path | None = None) -> None:
        self._path = path
        self._like = like
        name = os.fsdecode(os.fsencode(path.name)[:_NAME])
        self._own = path.with_name(f".{name}.{secrets.token_hex(8)}{_ENDING}")
        self._is_synced = False
        self.file: IO[bytes]

    def __enter__(self) -> Self:
        clean(self._path.parent)
        if self._like is None or not self._link(self._like):
            self._make()
            if self._like is not None:
                try:
                    with opened(self._like) as source:
                        shutil.copyfileobj(source, self.file, 1 << 20)
                except BaseException:
                    self.__exit__(None, None, None)
                    raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # the reason to tell is the one that led here
            self.file.close()
        with contextlib.suppress(OSError):
            self._own.unlink(missing_ok=True)

    def sync(self) -> None:
        """Force what was written to the disk; nothing is written after it."""
        if self.file.writable() and not self._is_synced:
            self.file.flush()
            os.fsync(self.file.fileno())
            self._is_synced = True

    def place(self) -> None:
        """Take the place of `path`, on the disk."""
        self.sync()
        self._own.replace(self._path)
        sync_folder(self._path.parent)

    def _make(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        while True:
            self.file = os.fdopen(os.open(self._own, flags, 0o666), "wb")
            with contextlib.suppress(OSError):  # a file system without flock
                fcntl.flock(self.file, fcntl.LOCK_SH)
            if os.fstat(self.file.fileno()).st_nlink:
                return
            self.file.close()  # another process has removed it before it was held

    def _link(self, source: Path) -> bool:
        """Whether the file could begin as a hard link; one of a symbolic link would be that link."""
        if source.is_symlink():
            return False
        self.file = opened(source)
        with contextlib.suppress(OSError):
            fcntl.flock(self.file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        try:
            os.link(source, self._own)
        except OSError:  # a file system without hard links
            self.file.close()
            return False
        return True


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to the disk, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise
    finally:
        os.close(descriptor)


def clean(folder: Path) -> None:
    """Remove the temporary files of processes that are no more. What cannot be removed stays."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.name.startswith(".") and path.name.endswith(_ENDING):
                with contextlib.suppress(OSError):
                    _remove_orphan(path)


def _remove_orphan(path: Path) -> None:
    """Remove the file unless a process holds it. Raises OSError."""
    if path.is_symlink():  # none of ours
        path.unlink()
        return
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    descriptor = os.open(path, flags)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()  # while it is held, so that its maker, if there is one, can see that it is gone
    except BlockingIOError:
        return
    except OSError:
        if time.time() - os.fstat(descriptor).st_mtime > _AGE:
            path.unlink()
    finally:
        os.close(descriptor)


def odd_kind(status: os.stat_result) -> str | None:
    """What a file is that is no regular one, in words; None for a regular file."""
    return None if stat.S_ISREG(status.st_mode) else _KINDS.get(stat.S_IFMT(status.st_mode), "something else")


def _refuse_odd(path: Path, status: os.stat_result) -> None:
    if kind := odd_kind(status):
        raise OSError(errno.EINVAL, f"it is {kind}, which is no regular file", str(path))
