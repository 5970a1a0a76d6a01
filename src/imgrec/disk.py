"""Read and write files in untrusted folders: only regular files are read, and no link is written through.

A file is written under a random name, in a newly created file, flushed to the disk, and renamed in one step. The name
has the machine and the process, and the process locks the file with flock. So a file whose process was killed can be
recognised, and the next process of the same machine that writes in the folder removes it; after a day any process does.

Before each change in a folder that this process holds alone (`locking`), `folder_guard` asks whether it still does.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import time
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

from imgrec import file_clock, folder_guard, process_identity, temporary_files

_AGE = 86400.0  # seconds after which a temporary file is certainly abandoned, if nothing else tells
_PAUSES = (0.05, 0.15, 0.5)  # seconds before a file is read again that could not be read for a moment
_NO_FSYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)  # errors for a folder on a network mount
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_Read = TypeVar("_Read")


def opened(path: Path, *, most: int | None = None) -> BufferedReader:
    """Open a regular file, or a link to one, for reading. Opening never blocks, not even on a pipe.

    What a network file system refuses for a moment only is tried again.

    Args:
        path: The file.
        most: The largest size in bytes.

    Raises:
        OSError: It cannot be opened, is no regular file, or is larger.
    """
    return _again(path, lambda: _opened(path, most))


def _opened(path: Path, most: int | None) -> BufferedReader:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        status = os.fstat(descriptor)
        _refuse_irregular(path, status)
        if most is not None and status.st_size > most:
            raise OSError(errno.EFBIG, f"it has {status.st_size} bytes, and at most {most} are read", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def content(path: Path, *, most: int) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        OSError: As in `opened`.
    """

    def read() -> bytes:
        with _opened(path, most) as file:
            return file.read(most)

    return _again(path, read)


def _again(path: Path, read: Callable[[], _Read]) -> _Read:
    """Return what `read` returns, and call it again, for most of a second, after an error that passes.

    On NFS a file that another machine has just replaced may be stale (ESTALE), and one that it has just made may be
    listed in its folder, and not be found.

    Raises:
        OSError: It does not pass.
    """
    for pause in _PAUSES:
        try:
            return read()
        except OSError as error:
            if error.errno != errno.ESTALE and not (error.errno == errno.ENOENT and _is_listed(path)):
                raise
        time.sleep(pause)
    return read()


def _is_listed(path: Path) -> bool:
    """Return True if the folder names such a file. A link to a file that is missing is none."""
    try:
        with os.scandir(path.parent) as entries:
            return any(entry.name == path.name and not entry.is_symlink() for entry in entries)
    except OSError:
        return False


def appending(path: Path) -> int:
    """Return a descriptor that appends to a regular file, which is created if there is none.

    Raises:
        OSError: It cannot be opened, or it is a link or no regular file.
        LostFolderError: As in `folder_guard.confirm`.
    """
    folder_guard.confirm(path)
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
        _refuse_irregular(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class Partial:
    """A file that will replace `path`: `with Partial(path) as new: new.file.write(...); new.place()`.

    Without `place`, it is removed. Both ends raise LostFolderError as `folder_guard.confirm` does.

    Args:
        path: The file to replace.
        like: A file to begin with, as a hard link, or else as a copy of its bytes.
    """

    def __init__(self, path: Path, *, like: Path | None = None) -> None:
        self._path = path
        self._like = like
        self._own = temporary_files.beside(path)
        self._is_synced = False
        self.file: IO[bytes]

    def __enter__(self) -> Self:
        folder_guard.confirm(self._path)
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
        with contextlib.suppress(OSError):  # the original error matters more
            self.file.close()
        with contextlib.suppress(OSError):
            self._own.unlink(missing_ok=True)

    def sync(self) -> None:
        """Flush what was written to the disk. Nothing may be written afterwards."""
        if self.file.writable() and not self._is_synced:
            self.file.flush()
            os.fsync(self.file.fileno())
            self._is_synced = True

    def place(self) -> None:
        """Replace `path`, durably."""
        self.sync()
        folder_guard.confirm(self._path)
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
            self.file.close()  # another process removed it before it was locked

    def _link(self, source: Path) -> bool:
        """Return True if the file could be created as a hard link.

        A hard link to a symbolic link would be that symbolic link.
        """
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


def refresh(folder: Path) -> None:
    """Let a network file system ask its server which files the folder has, as it remembers missing ones for a while."""
    for place in (folder.parent, folder):
        with contextlib.suppress(OSError):
            descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # asks for the folder's date
            os.close(descriptor)
    with contextlib.suppress(OSError):
        list(folder.iterdir())


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, if the file system can."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise
    finally:
        os.close(descriptor)


def clean(folder: Path) -> None:
    """Remove the temporary files of processes that have ended: of this machine at once, of others after a day.

    A file that cannot be removed stays.
    """
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if temporary_files.is_one(path):
                with contextlib.suppress(OSError):
                    _remove_orphan(path)


def _remove_orphan(path: Path) -> None:
    """Remove the file if its process has ended, or must have.

    On a file system that machines share, an flock may hold for one of them only. Files of older versions name no
    machine, and are taken for this one's.

    Raises:
        OSError: It cannot be removed.
    """
    if path.is_symlink():  # this module makes no symbolic links
        path.unlink()
        return
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    descriptor = os.open(path, flags)
    writer = temporary_files.writer_of(path)
    try:
        if writer is None or writer.is_here:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            except OSError:  # a file system without flock
                is_over = writer is not None and not process_identity.is_alive(writer.pid, None)
            else:
                is_over = True
        else:
            is_over = False
        # a link to an older file has that file's mtime
        if is_over or file_clock.time_on(path.parent) - os.fstat(descriptor).st_ctime > _AGE:
            path.unlink()  # while it is locked, so that a process that has just created it can see that it is gone
    finally:
        os.close(descriptor)


def odd_kind(status: os.stat_result) -> str | None:
    """Return the kind of a file that is no regular file, in words; None for a regular file."""
    return None if stat.S_ISREG(status.st_mode) else _KINDS.get(stat.S_IFMT(status.st_mode), "something else")


def _refuse_irregular(path: Path, status: os.stat_result) -> None:
    if kind := odd_kind(status):
        raise OSError(errno.EINVAL, f"it is {kind}, which is no regular file", str(path))
