"""Wait for a condition with a time limit, so that a hanging test says what it waited for."""

import time
from collections.abc import Callable
from pathlib import Path


def wait_until(
    ready: Callable[[], bool], *, log: Path | None = None, patience: float = 60, pause: float = 0.01
) -> None:
    """Return when `ready`. Raises TimeoutError after `patience` seconds, with what the log holds by then."""
    end = time.monotonic() + patience
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"not ready after {patience} s: {log.read_text() if log else ready}")
        time.sleep(pause)
