"""Carry out work on the disk, at once or in a thread beside the training."""

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

log = logging.getLogger(__name__)


class Writer:
    """Carry out changes of the disk one after the other.

    After a failure in the thread no more work is carried out, and every later call raises the failure.

    Args:
        in_background: True for a thread beside the training; False to carry out each work before `do` returns.
    """

    def __init__(self, *, in_background: bool) -> None:
        self._pool = ThreadPoolExecutor(1, "imgrec-writer") if in_background else None
        self._newest: Future[None] | None = None
        self._failure: Exception | None = None

    @property
    def in_background(self) -> bool:
        return self._pool is not None

    def do(self, work: Callable[..., None], *arguments: Any) -> None:
        """Carry out this work after all earlier work."""
        if self._pool is None:
            work(*arguments)
            return
        self._raise_failure()
        self._newest = self._pool.submit(self._attempt, work, *arguments)

    def wait(self) -> None:
        """Return when all work is on the disk."""
        if self._newest is not None:
            self._newest.result()
        self._raise_failure()

    def close(self) -> None:
        """Finish the work and end the thread. A failure is only logged, as an earlier error may be more important."""
        if self._pool is not None:
            self._pool.shutdown()
            if self._failure is not None:
                log.error("%s", self._failure)

    def _attempt(self, work: Callable[..., None], *arguments: Any) -> None:
        if self._failure is not None:  # otherwise `best` could become a copy of an old `last`
            return
        try:
            work(*arguments)
        except Exception as error:
            self._failure = error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
