"""Let one process at a time change who holds a lock: a second file, which one process alone can create.

Imports no torch.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from imgrec import disk, lease
from imgrec.lease import MOST, Holder, InUseError

_PATIENCE = 2.0  # seconds to wait for another process that has its turn


@contextlib.contextmanager
def turn(path: Path) -> Iterator[int]:
    """Let no other process take the lock, or renew a late lease, while the block runs; give the turn's open file.

    Raises:
        InUseError: Another process has its turn for too long.
        OSError: The folder cannot be written to.
    """
    place = place_of(path)
    until = time.monotonic() + _PATIENCE
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        try:
            descriptor = os.open(place, flags, 0o666)
            break
        except FileExistsError:
            if (found := _having_turn(place)) is None:
                place.unlink(missing_ok=True)
            elif time.monotonic() > until:
                raise InUseError(found) from None
            else:
                time.sleep(0.02)
    try:
        os.write(descriptor, lease.own(flock=False).to_line())
        yield descriptor
    finally:
        if lease.is_at(descriptor, place):
            with contextlib.suppress(OSError):
                place.unlink()
        os.close(descriptor)


def place_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.turn")


def _having_turn(place: Path) -> Holder | None:
    """Return the process that has its turn; None if it has ended."""
    if place.is_symlink():  # this module makes none
        return None
    try:
        with disk.opened(place) as file:
            line, status = file.read(MOST), os.fstat(file.fileno())
    except FileNotFoundError:
        return Holder(lease=None)  # its turn is over
    return lease.judged(place, line or b"?", status, "refused", fresh=True)
