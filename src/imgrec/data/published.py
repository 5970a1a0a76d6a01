"""Download, check, store and read the files that a data set is published as. Imports no torch."""

import errno
import fcntl
import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NoReturn

from imgrec.data.checksum import Checksum
from imgrec.data.download import fetch
from imgrec.errors import RunError

_ATTEMPTS = 1000  # to take a lock: each other process that fails removes the lock file once


@dataclass(frozen=True, kw_only=True)
class Published:
    """A data set as its authors publish it: files with checksums, each at an address of its own or all in one archive.

    Attributes:
        title: The data set's name, in sentences.
        key: Its name in names of hidden files.
        folder: The folder of its files, relative to data.root, with `/` between several.
        files: The checksum of each file.
        urls: The address of each file; empty if they come in an archive.
        archive: The address of a tar.gz with all files below `folder`, and its checksum.
    """

    title: str
    key: str
    folder: str
    files: Mapping[str, Checksum]
    urls: Mapping[str, str] = field(default_factory=dict)
    archive: tuple[str, Checksum] | None = None

    @property
    def fingerprint(self) -> str:
        """64 hexadecimal digits that differ between data sets: SHA-256 of the files' names and checksums."""
        lines = "".join(f"{name} {checksum}\n" for name, checksum in sorted(self.files.items()))
        return hashlib.sha256(lines.encode()).hexdigest()

    def ensure(self, root: Path, *, download: bool) -> Path:
        """Return the data set's folder below `root`, with every file in it.

        The files are downloaded if none of them is there.

        If two processes need the files at the same time, one downloads and the other waits. A process that fails
        removes what it made. A process that is killed leaves at most the lock file and a hidden folder, which the next
        process removes. Contents are checked when they are read.

        Raises:
            RunError: The files are absent and cannot be downloaded, or only some are there.
        """
        folder = root / self.folder
        if not self.present(root):
            place = (
                f"place the official files ({', '.join(self.files)}) in {folder}, or choose data=digits, which needs no"
                " download"
            )
            if not download:
                raise RunError(
                    f"{folder}: {self.title} must be there when data.download=false; set it to true, {place}"
                )
            with self._locked(root, place):
                if not self.present(root):  # another process may have placed them while this one waited
                    self._place(root, folder, way_out=place)
        for name in self.files:
            if not (folder / name).is_file():
                raise RunError(
                    f"{folder / name}: missing, and {self.title} needs {', '.join(self.files)}; "
                    f"restore it, or delete {folder} and run again to download it anew"
                )
        return folder

    def present(self, root: Path) -> bool:
        """Return True if any of the files is in the data set's folder below `root`.

        It is then the user's folder, and nothing is downloaded into it.
        """
        return any((root / self.folder / name).exists() for name in self.files)

    def read(self, folder: Path, name: str) -> bytes:
        """Return the content of one file. The bytes that were read have the official checksum.

        Raises:
            RunError: The file is not the official one.
        """
        path, checksum = folder / name, self.files[name]
        try:
            content = path.read_bytes()
        except OSError as error:
            raise RunError(f"{path}: cannot be read ({error.strerror}); restore it or its permissions") from error
        digest = checksum.of(content)
        if digest != checksum.value:
            raise RunError(
                f"{path}: its {checksum.name} must be {checksum.value} (the official file), got {digest} over"
                f" {len(content)} bytes; restore it, or delete {path.parent} and run again to download it anew"
            )
        return content

    @property
    def _partial(self) -> str:
        return f".{self.key}-partial-"

    @property
    def _lock(self) -> str:
        return f".{self.key}.lock"

    @contextmanager
    def _locked(self, root: Path, way_out: str) -> Iterator[None]:
        """Hold the lock of `root`, which the system releases if the process dies.

        If the block fails, remove what was made.
        """
        made: list[Path] = []
        try:
            lock = self._take_lock(root, made)
        except OSError as error:  # some network file systems support no locks
            _remove(made)
            self._unwritable(root, error, way_out)
        with lock:
            try:
                yield
            except BaseException:
                with suppress(OSError):
                    # while it is held: a waiting process sees that it is gone, and makes another
                    (root / self._lock).unlink()
                _remove(made)
                raise

    def _take_lock(self, root: Path, made: list[Path]) -> IO[str]:
        """Return the lock file of `root`, locked.

        Args:
            root: The folder.
            made: Receives the folders that were made for the lock file, the innermost first.
        """
        for _ in range(_ATTEMPTS):
            made[:] = [folder for folder in (root, *root.parents) if not folder.exists()]
            try:
                root.mkdir(parents=True, exist_ok=True)
                lock = (root / self._lock).open("w")
            except FileNotFoundError:  # another process failed, and removed the folders that it had made
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"{root}: another process is fetching {self.title}; waiting for it", file=sys.stderr, flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError as error:
                lock.close()
                if error.errno in (errno.EOPNOTSUPP, errno.ENOSYS):  # the file system has no locks: no process holds it
                    (root / self._lock).unlink(missing_ok=True)
                raise
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock.fileno()), (root / self._lock).stat()):
                    return lock
            lock.close()  # the file is of a process that failed meanwhile; a lock on it would exclude no other process
        raise FileNotFoundError(errno.ENOENT, "its lock file vanishes again and again")

    def _place(self, root: Path, folder: Path, *, way_out: str) -> None:
        """Download and check the files beside `folder`, and move them there in one step.

        The caller holds the lock.
        """
        for stale in root.glob(f"{self._partial}*"):  # left by a process that was killed
            shutil.rmtree(stale, ignore_errors=True)
        made: list[Path] = []
        try:
            with tempfile.TemporaryDirectory(prefix=self._partial, dir=root) as partial:
                whole = Path(partial) / "files"
                whole.mkdir()
                if self.archive is not None:
                    url, checksum = self.archive
                    archive = Path(partial) / "archive.tar.gz"
                    fetch(url, archive, checksum=checksum, label=self.title, way_out=way_out)
                    self._unpack(url, archive, whole, way_out)
                for name, url in self.urls.items():
                    label = f"{self.title}, {name}"
                    fetch(url, whole / name, checksum=self.files[name], label=label, way_out=way_out)
                    _fsync(whole / name)
                _fsync(whole)
                made = [above for above in folder.parents if not above.exists()]
                folder.parent.mkdir(parents=True, exist_ok=True)
                whole.replace(folder)
            _fsync(folder.parent)
            _fsync(root)
        except OSError as error:
            _remove(made)
            self._unwritable(root, error, way_out)

    def _unpack(self, url: str, archive: Path, folder: Path, way_out: str) -> None:
        """Write the expected regular files of the archive, and nothing else in it, durably into `folder`.

        Only contents are used: no name, mode, owner or link of the archive reaches a system call.
        """
        with tarfile.open(archive, "r:gz") as tar:
            members = {member.name: member for member in tar.getmembers() if member.isreg()}
            for name in self.files:
                member = members.get(f"{self.folder}/{name}")
                content = tar.extractfile(member) if member else None
                if content is None:
                    raise RunError(f"{url}: must hold the regular file {self.folder}/{name}, and does not; {way_out}")
                with content, (folder / name).open("xb") as file:
                    shutil.copyfileobj(content, file)
                    file.flush()
                    os.fsync(file.fileno())

    def _unwritable(self, root: Path, error: OSError, way_out: str) -> NoReturn:
        raise RunError(
            f"{root}: {self.title} cannot be stored there ({error.strerror or error}); set data.root or"
            f" $IMGREC_DATA_DIR to a folder that can be written, {way_out}"
        ) from error


def _remove(folders: list[Path]) -> None:
    """Remove those of the folders that are empty."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
