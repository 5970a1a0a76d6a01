"""Define the interface of launchers, and the object that a launcher reports to and asks whether to stop."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Protocol

from imgrec import launch
from imgrec.config.root import Config
from imgrec.errors import RunError
from imgrec.job import Job
from imgrec.sweeps.jobs import note_pruned
from imgrec.sweeps.live_view import LiveView
from imgrec.training.interruption import Interruption

_RENEWED = 30.0  # seconds between two readings of all records, for the columns of HPARAMS during a sweep


class StoppedError(RunError):
    """The launcher can carry out no further run in this place. What is left stays to do."""


class Judge(Protocol):
    """Decides which running jobs are ended before they finish."""

    def verdict(self, job: Job) -> str | None:
        """Return why the job is to be ended now; None if it goes on."""


class Watch:
    """Receives the beginning and the end of each job, and tells the launcher when to stop.

    The reports are for display only. Records decide on the state of a job.
    """

    def __init__(
        self,
        view: LiveView,
        interruption: Interruption,
        *,
        stops_at_failure: bool,
        cancels: bool = False,
        judge: Judge | None = None,
    ) -> None:
        self._view, self._interruption, self._judge = view, interruption, judge
        self._stops_at_failure, self._cancels = stops_at_failure, cancels
        self._failed = False

    @property
    def stop(self) -> bool:
        """True if no further job may begin, and running jobs must save and end."""
        return self._interruption.signum is not None or (self._failed and self._stops_at_failure)

    @property
    def cancels(self) -> bool:
        """True if runs that go on elsewhere are to be cancelled at `stop`: after a failure, or if the user wants it."""
        return self._cancels or self._interruption.signum is None

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Note signals while the block runs, and set `stop`. Outside of the block a signal raises Interrupted."""
        with self._interruption.deferred():
            yield

    def began(self, job: Job, where: str | None = None) -> None:
        """Note that the job begins.

        Args:
            job: The job.
            where: The place, for a launcher of other machines.
        """
        self._view.began(job, where)

    def ended(self, job: Job, reason: str | None = None) -> None:
        """Note that the job has ended.

        Args:
            job: The job.
            reason: The reason of a failure; None for a finished job.
        """
        self._failed = self._failed or reason is not None
        launch.show_on_board(job.folder.absolute().parent, test=False, at_most_every=_RENEWED)
        self._view.ended(job, reason)

    def cut(self, job: Job, reason: str | None = None) -> None:
        """Note that the job was interrupted and can be resumed.

        Args:
            job: The job.
            reason: What interrupted it; None where the sweep as a whole is ended.
        """
        self._view.cut(job, reason)

    def left(self, job: Job, *, queued: bool) -> None:
        """Note that the job goes on elsewhere when the sweep as a whole is ended.

        Args:
            job: The job.
            queued: True if it waits for its turn there.
        """
        self._view.left(job, queued=queued)

    def verdict(self, job: Job) -> str | None:
        """Return why the launcher must end this running job, and report it as `pruned`; None if it goes on."""
        return self._judge.verdict(job) if self._judge is not None else None

    def pruned(self, job: Job, reason: str) -> None:
        """Note that the job was ended because of a `verdict`, which its record tells from then on."""
        try:
            note_pruned(job.folder, reason)
        except RunError as error:  # a full disk, or its process has not ended
            self._view.say(f"{job.name}: its record could not be closed: {error}")
        self._view.pruned(job, reason)

    def say(self, line: str) -> None:
        """Print a line on how the launcher works."""
        self._view.say(line)

    def returned(self, job: Job, reason: str) -> None:
        """Note that the job was given back, to be carried out again by this launcher.

        Args:
            job: The job.
            reason: What it ended with, which is no failure of the job.
        """
        self._view.returned(job, reason)


class Launcher(Protocol):
    """Carries out jobs."""

    def at_a_time(self, configs: Sequence[Config]) -> int:
        """Return how many runs with these configurations go on at a time, at least 1."""

    def run(self, jobs: Sequence[Job], watch: Watch) -> None:
        """Carry out the jobs in this order, until all have ended or `watch.stop` is True.

        The launcher reports each job to `watch`. A signal to this process raises Interrupted, except inside
        `watch.deferred()`. There, the launcher asks its jobs to save, and returns when they have ended.

        Raises:
            StoppedError: No further job can be carried out here.
        """
