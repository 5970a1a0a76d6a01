"""Compute a digest of each of a folder's images, with a cache, so that each file is read once. Imports no torch.

A cached digest is valid while the file's device, inode, size, mtime and ctime stay the same; no program can set a
ctime. If the cache is lost, damaged or cannot be written, only time is lost.
"""

import contextlib
import errno
import hashlib
import logging
import os
import stat
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgrec import disk
from imgrec.errors import RunError, shown

_STATE = struct.Struct("<QQQqq")  # device, inode, size, mtime and ctime in nanoseconds
_DIGEST = hashlib.sha256().digest_size
_UNREAD = bytes(_DIGEST)  # for a file that cannot be read; data.on_error applies when it is decoded
_BRIEF = 8  # bytes of a digest that identify an image: two of 10 million agree with a probability of 3e-6
_MAGIC = b"imgrec contents 1\n"

_CHUNK = 2**20  # bytes that are read at once
_BLOCK = 64  # files in a thread's unit of work
_THREADS = 8  # threads wait more for the disk than for a core
_TRIES = 3  # for a file that changes while it is read
SETTLED = 2_000_000_000  # nanoseconds after which a change is certain to change the ctime: FAT's clock is the coarsest
_PATIENCE = 3.0  # seconds of reading before the first message
_PAUSE = 30.0  # seconds between two messages
_MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # failures of the machine, not of a file
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The states and digests of N files, in the order in which they were requested; 72 bytes for each file."""

    states: bytes
    digests: bytes

    def __len__(self) -> int:
        return len(self.digests) // _DIGEST

    def sizes(self) -> Iterator[int]:
        """Yield each file's size in bytes."""
        return (size for _, _, size, _, _ in _STATE.iter_unpack(self.states))

    def digest(self, index: int) -> bytes:
        """Return SHA-256 of the file's bytes; zeros for a file that cannot be read."""
        return self.digests[index * _DIGEST : (index + 1) * _DIGEST]

    def brief_n(self) -> NDArray[np.uint64]:
        """Return the first 8 bytes of each digest as a number, (N,); 0 for a file that cannot be read."""
        rows_n32 = np.frombuffer(self.digests, np.uint8).reshape(-1, _DIGEST)
        return np.ascontiguousarray(rows_n32[:, :_BRIEF]).view("<u8").reshape(-1)


def read(root: Path, paths: Sequence[str]) -> Contents:
    """Return the contents of the files at these paths, relative to `root`.

    Only files that are not in the cache are read.

    Raises:
        RunError: A file is gone or changes while it is read, or the machine has no memory or file descriptor left.
    """
    began = time.time_ns()
    states = bytearray()
    for path in paths:
        try:
            states += _state(os.stat(f"{root}/{path}"))  # noqa: PTH116 - a Path takes longer than the call
        except OSError as error:
            raise _changing_error(root, path, error.strerror) from error
    place = _cache_path(root)
    known = _load_cache(place) if place else None
    if known is not None and known.states == states:
        return known
    digests = bytearray(len(paths) * _DIGEST)
    cached = _by_state(known) if known else {}
    missing = []
    for index in range(len(paths)):
        state = bytes(states[index * _STATE.size : (index + 1) * _STATE.size])
        if state in cached:
            digests[index * _DIGEST : (index + 1) * _DIGEST] = cached[state]
        else:
            missing.append(index)
    try:
        for index, state, digest in _hash_files(root, paths, missing):
            if digest == _UNREAD:
                continue
            states[index * _STATE.size : (index + 1) * _STATE.size] = state
            digests[index * _DIGEST : (index + 1) * _DIGEST] = digest
    finally:  # after an interruption, what was read so far is cached
        contents = Contents(states=bytes(states), digests=bytes(digests))
        if place and missing:
            _save_cache(place, contents, before=began - SETTLED)
    return contents


def changed(root: Path, paths: Sequence[str], before: Contents) -> list[str]:
    """Return the paths whose files are gone, or have other bytes than `before`.

    Files of unchanged state are not read.
    """
    found = []
    for index, path in enumerate(paths):
        try:
            state = _state(os.stat(f"{root}/{path}"))  # noqa: PTH116
            if state == before.states[index * _STATE.size : (index + 1) * _STATE.size]:
                continue
            if _digest_of(root, path)[1] != before.digest(index):
                found.append(path)
        except OSError:
            found.append(path)
    return found


def _state(status: os.stat_result) -> bytes:
    return _STATE.pack(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


# ---- reading


def _hash_files(root: Path, paths: Sequence[str], missing: Sequence[int]) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield index, state and digest of each file at the indices `missing`, in their order."""

    def several(places: Sequence[int]) -> list[tuple[int, bytes, bytes]]:
        return [(place, *_digest_of(root, paths[place])) for place in places]

    began = said = time.monotonic()
    done = 0
    threads = ThreadPoolExecutor(_THREADS, "imgrec-contents")
    try:
        blocks = [missing[start : start + _BLOCK] for start in range(0, len(missing), _BLOCK)]
        found: Iterable[list[tuple[int, bytes, bytes]]] = map(several, blocks)
        with contextlib.suppress(RuntimeError):  # under a limit on threads (ulimit -u) it is only slower
            found = threads.map(several, blocks)
        for rows in found:
            yield from rows
            done += len(rows)
            now = time.monotonic()
            if now - said > (_PATIENCE if said == began else _PAUSE):
                said = now
                log.warning(
                    "%s: reading what %d images contain, which is remembered: %.0f %% after %.0f s",
                    shown(root),
                    len(missing),
                    100 * done / len(missing),
                    now - began,
                )
    finally:
        threads.shutdown(cancel_futures=True)


def _digest_of(root: Path, path: str) -> tuple[bytes, bytes]:
    """Return a file's state and digest.

    Raises:
        RunError: As in `read`.
    """
    for _ in range(_TRIES):
        try:
            before, digest, after = _digest_once(f"{root}/{path}")
        except OSError as error:
            if error.errno in _MACHINE:
                raise RunError(
                    f"{shown(root / path)}: must be read, got {error.strerror}; free memory and files"
                ) from error
            if error.errno in _GONE:
                raise _changing_error(root, path, error.strerror) from error
            return bytes(_STATE.size), _UNREAD
        if before == after:
            return before, digest
    raise _changing_error(root, path, "other bytes at each reading")


def _digest_once(path: str) -> tuple[bytes, bytes, bytes]:
    """Return the file's state, its digest, and its state after reading. Opening never blocks, not even on a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        status = os.fstat(descriptor)
        before = _state(status)
        if not stat.S_ISREG(status.st_mode):
            return before, _UNREAD, before
        digest, left = hashlib.sha256(), status.st_size + 1  # bounds the reading of a file that grows
        while left > 0 and (chunk := os.read(descriptor, min(_CHUNK, left))):
            digest.update(chunk)
            left -= len(chunk)
        return before, digest.digest(), _state(os.fstat(descriptor))
    finally:
        os.close(descriptor)


def _changing_error(root: Path, path: str, reason: str | None) -> RunError:
    return RunError(
        f"{shown(root / path)}: must stay as it is while the folder is listed, got {reason}; start again when nothing"
        f" else changes {shown(root)}"
    )


# ---- the cache


def _cache_path(root: Path) -> Path | None:
    """Return the path of the folder's cache file.

    Its name is the folder's device and inode, so renaming keeps it valid.
    """
    try:
        status = root.stat()
        given = os.environ.get("XDG_CACHE_HOME", "")
        base = Path(given) if given.startswith("/") else Path.home() / ".cache"  # the specification's own rule
    except (OSError, RuntimeError):  # there is no home folder
        return None
    return base / "imgrec" / "contents" / f"{status.st_dev:x}-{status.st_ino:x}"


def _load_cache(place: Path) -> Contents | None:
    """Read the cache file; None where there is no complete one that this user wrote."""
    try:
        with disk.opened(place) as file:
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                return None
            text = file.read()
    except OSError:
        return None
    head = len(_MAGIC) + _DIGEST
    rows, rest = divmod(len(text) - head, _STATE.size + _DIGEST)
    if rest or rows < 0 or text[: len(_MAGIC)] != _MAGIC:
        return None
    if hashlib.sha256(text[head:]).digest() != text[len(_MAGIC) : head]:
        return None
    middle = head + rows * _STATE.size
    return Contents(states=text[head:middle], digests=text[middle:])


def _by_state(known: Contents) -> dict[bytes, bytes]:
    size = _STATE.size
    return {known.states[k * size : (k + 1) * size]: known.digest(k) for k in range(len(known))}


def _save_cache(place: Path, contents: Contents, *, before: int) -> None:
    """Replace the cache file.

    A file that changed more recently than `before` is left out, as a later change may not change its ctime.

    Args:
        place: The cache file.
        contents: The states and digests.
        before: Nanoseconds since 1970.
    """
    states, digests = bytearray(), bytearray()
    for index, (*_, ctime) in enumerate(_STATE.iter_unpack(contents.states)):
        if ctime < before and contents.digest(index) != _UNREAD:
            states += contents.states[index * _STATE.size : (index + 1) * _STATE.size]
            digests += contents.digest(index)
    if not states:
        return
    rows = bytes(states + digests)
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with disk.Partial(place) as new:
            new.file.write(_MAGIC + hashlib.sha256(rows).digest() + rows)
            new.place()
    except OSError as error:
        log.debug("%s cannot be written: %s", place, error)
