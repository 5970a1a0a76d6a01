"""What decides which runs a sweep makes, and in which order. Imports no torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from imgrec.sweep.jobs import Jobs, SweepJob
from imgrec.sweep.live_view import Kind, LiveView


class Runs(Protocol):
    """What a strategy has of its sweep.

    Attributes:
        words: The sweep's words, values after commas included, without Hydra's own.
        folder: The sweep's folder.
        jobs: Finds the run that words ask for.
        view: Is told what happens.
    """

    words: Sequence[str]
    folder: Path
    jobs: Jobs
    view: LiveView

    @property
    def at_a_time(self) -> int:
        """How many runs the launcher carries out side by side."""

    def finish(self, wanted: Sequence[SweepJob], kind: Kind) -> None:
        """Carry out those of the runs that are not finished yet. Raises Interrupted."""


class Strategy(Protocol):
    """Decides which runs a sweep makes. Records say what came of each; a command that is given again goes on."""

    def planned(self, words: Sequence[str], jobs: Jobs) -> list[SweepJob]:
        """Return the runs that can be known before the first one has run; one of them stands for those that cannot.

        Raises UsageError for words that ask for what cannot be.
        """

    def run(self, runs: Runs) -> None:
        """Carry out the sweep."""
