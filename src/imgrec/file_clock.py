"""Read the clock that dates the files in a folder, which may be a file server's. Imports no torch."""

import contextlib
import os
from pathlib import Path

from imgrec import process_identity, temporary_files

_KNOWN = 30.0  # seconds for which the clock of a file system is computed from its last reading
_clocks: dict[int, tuple[float, float]] = {}  # by device: `elapsed` and the time on the file system at one moment


def time_on(folder: Path, *, fresh: bool = False) -> float:
    """Return the time by the clock that dates the files in the folder, in seconds as st_mtime.

    That of a file server may differ from this machine's by any amount. It is read from a file that is created in the
    folder, touched and removed; within the next 30 seconds it is computed for folders of the same file system.

    Args:
        folder: The folder.
        fresh: True to read it in any case.

    Raises:
        OSError: The folder cannot be written to.
    """
    device, now = folder.stat().st_dev, process_identity.elapsed()
    then, clock = _clocks.get(device, (-_KNOWN, 0.0))
    if not fresh and 0 <= now - then < _KNOWN:
        return clock + now - then
    path = temporary_files.beside(folder / "clock")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o666)
    try:
        os.utime(descriptor)  # a server dates this itself; the date of a creation may be made up (NFS, O_EXCL)
        read = os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()
    _clocks[device] = (process_identity.elapsed(), read)
    return read
