"""Download, check, store and read the official CIFAR-10 files (Krizhevsky 2009, "python version"). Imports no torch."""

import errno
import fcntl
import hashlib
import io
import os
import pickle
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from imgrec.data.download import fetch
from imgrec.errors import RunError

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
ARCHIVE_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"  # as given by Keras
FOLDER = "cifar-10-batches-py"
META, TEST_BATCH = "batches.meta", "test_batch"
TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
# computed from files with the MD5s that torchvision gives
SHA256 = {
    "batches.meta": "f962466ef690d46b226450fb9aadc74ba4bc64a76aa526b5827fe4bc5c7125cb",
    "data_batch_1": "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd",
    "data_batch_2": "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8",
    "data_batch_3": "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9",
    "data_batch_4": "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b",
    "data_batch_5": "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154",
    "test_batch": "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831",
}
_PARTIAL, _LOCK = ".cifar-10-partial-", ".cifar-10.lock"
_ATTEMPTS = 1000  # to take a lock: each other process that fails removes the lock file once


def ensure(root: Path, *, download: bool) -> Path:
    """Return the folder `root/cifar-10-batches-py` with every file in it.

    The archive is downloaded if no file is there.

    If two processes need the files at the same time, one downloads and the other waits. A process that fails removes
    what it made. A process that is killed leaves at most the lock file and a hidden folder, which the next process
    removes. Contents are checked when they are read.

    Raises:
        RunError: The files are absent and cannot be downloaded, or only some are there.
    """
    folder = root / FOLDER
    if not present(folder):
        names = ", ".join(SHA256)
        place = f"place the official files ({names}) in {folder}, or choose data=digits, which needs no download"
        if not download:
            raise RunError(f"{folder}: CIFAR-10 must be there when data.download=false; set it to true, {place}")
        with _locked(root, place):
            if not present(folder):  # another process may have placed them while this one waited
                _place(root, folder, way_out=place)
    for name in SHA256:
        if not (folder / name).is_file():
            raise RunError(
                f"{folder / name}: missing, and CIFAR-10 needs {', '.join(SHA256)}; "
                f"restore it, or delete {folder} and run again to download it anew"
            )
    return folder


def present(folder: Path) -> bool:
    """Return True if any of the files is in the folder.

    It is then the user's folder, and nothing is downloaded into it.
    """
    return any((folder / name).exists() for name in SHA256)


def read_batch(folder: Path, name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the images, uint8 (N,3,32,32), and labels, int64 (N,), of one official file.

    Raises:
        RunError: The file is not the official one.
    """
    content = _read(folder / name)
    return content[b"data"].reshape(-1, 3, 32, 32), np.asarray(content[b"labels"], dtype=np.int64)


def read_classes(folder: Path) -> tuple[str, ...]:
    """Return the ten class names, in the order of the labels.

    Raises:
        RunError: The file is not the official one.
    """
    return tuple(name.decode("ascii") for name in _read(folder / META)[b"label_names"])


@contextmanager
def _locked(root: Path, way_out: str) -> Iterator[None]:
    """Hold the lock of `root`, which the system releases if the process dies.

    If the block fails, remove what was made.
    """
    made: list[Path] = []
    try:
        lock = _take_lock(root, made)
    except OSError as error:  # some network file systems support no locks
        _remove(made)
        _unwritable(root, error, way_out)
    with lock:
        try:
            yield
        except BaseException:
            with suppress(OSError):
                (root / _LOCK).unlink()  # while it is held: a waiting process sees that it is gone, and makes another
            _remove(made)
            raise


def _take_lock(root: Path, made: list[Path]) -> IO[str]:
    """Return the lock file of `root`, locked.

    Args:
        root: The folder.
        made: Receives the folders that were made for the lock file, the innermost first.
    """
    for _ in range(_ATTEMPTS):
        made[:] = [folder for folder in (root, *root.parents) if not folder.exists()]
        try:
            root.mkdir(parents=True, exist_ok=True)
            lock = (root / _LOCK).open("w")
        except FileNotFoundError:  # another process failed, and removed the folders that it had made
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{root}: another process is fetching CIFAR-10; waiting for it", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            lock.close()
            if error.errno in (errno.EOPNOTSUPP, errno.ENOSYS):  # the file system has no locks, so no process holds it
                (root / _LOCK).unlink(missing_ok=True)
            raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), (root / _LOCK).stat()):
                return lock
        lock.close()  # the file belongs to a process that failed meanwhile; a lock on it would exclude no other process
    raise FileNotFoundError(errno.ENOENT, "its lock file vanishes again and again")


def _remove(folders: list[Path]) -> None:
    """Remove those of the folders that are empty."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _place(root: Path, folder: Path, *, way_out: str) -> None:
    """Download and check the archive, unpack it beside `folder`, and move the result there in one step.

    The caller holds the lock.
    """
    for stale in root.glob(f"{_PARTIAL}*"):  # left by a process that was killed
        shutil.rmtree(stale, ignore_errors=True)
    try:
        with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=root) as partial:
            archive, unpacked = Path(partial) / "archive.tar.gz", Path(partial) / FOLDER
            fetch(URL, archive, sha256=ARCHIVE_SHA256, label="CIFAR-10", way_out=way_out)
            _unpack(archive, unpacked, way_out)
            unpacked.replace(folder)
        _fsync(root)
    except OSError as error:
        _unwritable(root, error, way_out)


def _unpack(archive: Path, folder: Path, way_out: str) -> None:
    """Write the expected regular files of the archive, and nothing else in it, durably into the new `folder`.

    Only contents are used: no name, mode, owner or link of the archive reaches a system call.
    """
    folder.mkdir()
    with tarfile.open(archive, "r:gz") as tar:
        members = {member.name: member for member in tar.getmembers() if member.isreg()}
        for name in SHA256:
            member = members.get(f"{FOLDER}/{name}")
            content = tar.extractfile(member) if member else None
            if content is None:
                raise RunError(f"{URL}: must hold the regular file {FOLDER}/{name}, and does not; {way_out}")
            with content, (folder / name).open("xb") as file:
                shutil.copyfileobj(content, file)
                file.flush()
                os.fsync(file.fileno())
    _fsync(folder)


def _fsync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unwritable(root: Path, error: OSError, way_out: str) -> NoReturn:
    raise RunError(
        f"{root}: CIFAR-10 cannot be stored there ({error.strerror or error}); set data.root or $IMGREC_DATA_DIR to a "
        f"folder that can be written, {way_out}"
    ) from error


def _read(path: Path) -> dict[bytes, Any]:
    """Return the file's content. It is unpickled only after the bytes that were read have the official digest."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}); restore it or its permissions") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256[path.name]:
        raise RunError(
            f"{path}: its SHA-256 must be {SHA256[path.name]} (the official file), got {digest} over {len(content)} "
            f"bytes; restore it, or delete {path.parent} and run again to download it anew"
        )
    loaded: dict[bytes, Any] = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    return loaded


class _Unpickler(pickle.Unpickler):
    """Allows only what the official files need: an array, its type and its constructor."""

    # taken from an array itself: the constructor's module differs between NumPy 1 and 2
    _reconstruct = staticmethod(np.empty(0).__reduce__()[0])  # type: ignore[arg-type]

    def find_class(self, module: str, name: str) -> Any:
        admitted = {
            ("numpy.core.multiarray", "_reconstruct"): self._reconstruct,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) not in admitted:
            raise pickle.UnpicklingError(f"CIFAR-10 files name no {module}.{name}")
        return admitted[module, name]
