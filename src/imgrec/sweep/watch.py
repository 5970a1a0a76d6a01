"""What a launcher tells the sweep of its jobs, and asks it before it starts another one."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Protocol

from imgrec import launch
from imgrec.config.root import Config
from imgrec.job import Job
from imgrec.sweep.live_view import LiveView
from imgrec.training.interruption import Interruption

_RENEWED = 30.0  # seconds between two looks at all records, for the columns of HPARAMS while a sweep goes on


class Watch:
    """Told when a job has begun and how it ended. Says whether the launcher is to stop.

    Records decide what has become of a job; what is told here is for those who look on.
    """

    def __init__(self, view: LiveView, interruption: Interruption, *, stops_at_failure: bool) -> None:
        self._view, self._interruption = view, interruption
        self._stops_at_failure = stops_at_failure
        self._failed = False

    @property
    def stop(self) -> bool:
        """True when no further job may begin, and those that run are to save and end."""
        return self._interruption.signum is not None or (self._failed and self._stops_at_failure)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """While the block runs, a signal is noted alone, and `stop` tells of it; elsewhere it raises Interrupted."""
        with self._interruption.deferred():
            yield

    def began(self, job: Job) -> None:
        """Take down that the job begins."""
        self._view.began(job)

    def ended(self, job: Job, reason: str | None = None) -> None:
        """Take down that the job has ended. reason: why it failed; None where it finished."""
        self._failed = self._failed or reason is not None
        launch.show_on_board(job.folder.absolute().parent, test=False, at_most_every=_RENEWED)
        self._view.ended(job, reason)

    def cut(self, job: Job) -> None:
        """Take down that the job was interrupted: it is to be resumed."""
        self._view.cut(job)


class Launcher(Protocol):
    """Carries out jobs, wherever that is."""

    def at_a_time(self, configs: Sequence[Config]) -> int:
        """How many of the runs with these configurations go on at a time, at least 1."""

    def run(self, jobs: Sequence[Job], watch: Watch) -> None:
        """Carry the jobs out, in this order, until all have ended or `watch.stop` says so.

        Each job is told to `watch`. A signal to this process raises Interrupted, unless `watch.deferred()` holds it
        back; then the launcher asks its jobs to save, and returns when they have ended.
        """
