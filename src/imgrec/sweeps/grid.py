"""Implement sweep=grid: every combination of the values that the command lists. Imports no torch."""

from collections.abc import Sequence

from imgrec.config.compose import expand
from imgrec.sweeps.jobs import Jobs, SweepJob
from imgrec.sweeps.strategy import Ahead, Forecast, Runs


class Grid:
    """A `sweep.strategy.Strategy`."""

    def planned(self, words: Sequence[str], jobs: Jobs) -> list[SweepJob]:
        """Return all runs."""
        return [jobs.job(job) for job in expand(words)]

    def forecast(self, words: Sequence[str], jobs: Jobs) -> Forecast:
        """Return all runs."""
        return Forecast(phases=[Ahead(runs=self.planned(words, jobs))])

    def run(self, runs: Runs) -> None:
        """Carry out all runs."""
        runs.finish(self.planned(runs.words, runs.jobs), "runs")
