"""Work on the disk, carried out at once or in a thread beside the training."""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

log = logging.getLogger(__name__)


class Writer:
    """Carries out what changes the disk, one piece of work after the other.

    After something failed in the thread nothing more is carried out, and every later call raises its reason.

    Args:
        in_background: True for a thread beside the training; False to carry out each piece before `do` returns.
    """

    def __init__(self, *, in_background: bool) -> None:
        self._pool = ThreadPoolExecutor(1, "imgrec-writer") if in_background else None
        self._newest: Future[None] | None = None
        self._failure: Exception | None = None

    @property
    def in_background(self) -> bool:
        return self._pool is not None

    def do(self, work: Callable[..., None], *arguments: Any) -> None:
        """Carry out this work, after all that was asked for before."""
        if self._pool is None:
            work(*arguments)
            return
        self._raise_failure()
        self._newest = self._pool.submit(self._attempt, work, *arguments)

    def wait(self) -> None:
        """Return when everything is on the disk."""
        if self._newest is not None:
            self._newest.result()
        self._raise_failure()

    def close(self) -> None:
        """Finish what was begun, and end the thread. What fails now comes after a graver reason, which is told."""
        if self._pool is not None:
            self._pool.shutdown()
            if self._failure is not None:
                log.error("%s", self._failure)

    def _attempt(self, work: Callable[..., None], *arguments: Any) -> None:
        if self._failure is not None:  # `best` must not become a copy of a `last` that was to be replaced first
            return
        try:
            work(*arguments)
        except Exception as error:
            self._failure = error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
