"""Name temporary files by the machine and the process that write them. Imports no torch."""

import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from imgrec import process_identity

ENDING = ".partial"
_NAME, _HOST = 150, 40  # bytes of the final name, and of the machine's, that are kept; file systems allow 255
_WRITER = re.compile(rf"\.([A-Za-z0-9-]*)\.(\d+)\.[0-9a-f]{{16}}{re.escape(ENDING)}$")


@dataclass(frozen=True, kw_only=True)
class Writer:
    """The process that writes a temporary file.

    Attributes:
        is_here: True if it belongs to this machine.
        pid: Its id there.
    """

    is_here: bool
    pid: int


def beside(path: Path) -> Path:
    """Return a path in the same folder for a temporary file, which nobody can guess."""
    name = os.fsdecode(os.fsencode(path.name)[:_NAME])
    return path.with_name(f".{name}.{_host()}.{os.getpid()}.{secrets.token_hex(8)}{ENDING}")


def is_one(path: Path) -> bool:
    """Return True if the name is that of a temporary file, of older versions too."""
    return path.name.startswith(".") and path.name.endswith(ENDING)


def writer_of(path: Path) -> Writer | None:
    """Return the process that the name has; None for a file of an older version."""
    found = _WRITER.search(path.name)
    return Writer(is_here=found[1] == _host(), pid=int(found[2])) if found else None


def _host() -> str:
    return re.sub("[^A-Za-z0-9-]", "-", process_identity.machine().host)[:_HOST]
