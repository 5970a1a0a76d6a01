"""Ask, before a file is changed, whether this process still holds the folder that it held alone. Imports no torch."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

_checks: list[tuple[Path, Callable[[], None]]] = []  # folders that this process holds alone


@contextlib.contextmanager
def guarded(folder: Path, check: Callable[[], None]) -> Iterator[None]:
    """Let `check` decide before each change of a file below the folder, while the block runs.

    Args:
        folder: A folder that this process holds alone.
        check: Raises LostFolderError if another process holds it now.
    """
    entry = (folder.absolute(), check)
    _checks.append(entry)
    try:
        yield
    finally:
        _checks.remove(entry)


def confirm(path: Path) -> None:
    """Make sure that this process still holds the folders around the path which it held. Others are not looked at.

    Raises:
        LostFolderError: Another process holds one of them now.
        OSError: The file system does not say.
    """
    for folder, check in tuple(_checks):
        if path.absolute().is_relative_to(folder):
            check()
