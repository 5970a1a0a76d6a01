"""Define the interface of strategies, which decide on the runs of a sweep and their order. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from imgrec.sweeps.jobs import Jobs, SweepJob
from imgrec.sweeps.live_view import Kind, LiveView
from imgrec.sweeps.watch import Judge


class Runs(Protocol):
    """The parts of a sweep that a strategy uses.

    Attributes:
        words: The sweep's overrides, including values after commas, without Hydra's own.
        folder: The sweep's folder.
        jobs: Creates the run of given overrides.
        view: Shows the progress.
    """

    words: Sequence[str]
    folder: Path
    jobs: Jobs
    view: LiveView

    @property
    def at_a_time(self) -> int:
        """The number of runs that the launcher carries out at a time."""

    def finish(self, wanted: Sequence[SweepJob], kind: Kind, judge: Judge | None = None) -> None:
        """Carry out those of the runs that have not finished.

        Args:
            wanted: The runs.
            kind: What they are for.
            judge: Decides which runs are ended early; None for none.

        Raises:
            Interrupted: The process was asked to end.
        """


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """The runs that a sweep will have, as far as they are known before it runs.

    Attributes:
        runs: Known runs.
        like: Runs that are not known yet, and are to do: for each one a run that costs as much.
    """

    runs: Sequence[SweepJob] = ()
    like: Sequence[SweepJob] = ()


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The runs of a whole sweep.

    Attributes:
        phases: Groups of runs. Each group begins when the one before has ended.
        finished: The number of runs that have ended and are in no group.
        unknown: Sentences on what cannot be known before the sweep runs.
    """

    phases: Sequence[Ahead]
    finished: int = 0
    unknown: Sequence[str] = ()


class Strategy(Protocol):
    """Decides on the runs of a sweep. Records store the results, so that a repeated command continues."""

    def planned(self, words: Sequence[str], jobs: Jobs) -> list[SweepJob]:
        """Return the runs that are known before the first one has run, with at least one run as an example.

        Raises:
            UsageError: The overrides are invalid.
        """

    def forecast(self, words: Sequence[str], jobs: Jobs) -> Forecast:
        """Return the runs that the sweep will have. Nothing is written."""

    def run(self, runs: Runs) -> None:
        """Carry out the sweep."""
