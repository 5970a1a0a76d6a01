"""Define the interface of strategies, which decide on the runs of a sweep and their order. Imports no torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from imgrec.sweep.jobs import Jobs, SweepJob
from imgrec.sweep.live_view import Kind, LiveView
from imgrec.sweep.watch import Judge


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


class Strategy(Protocol):
    """Decides on the runs of a sweep. Records store the results, so that a repeated command continues."""

    def planned(self, words: Sequence[str], jobs: Jobs) -> list[SweepJob]:
        """Return the runs that are known before the first one has run, with at least one run as an example.

        Raises:
            UsageError: The overrides are invalid.
        """

    def run(self, runs: Runs) -> None:
        """Carry out the sweep."""
