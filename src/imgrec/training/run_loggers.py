"""Build the loggers of a run, and tell them what a run tells besides its curves."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Self

from lightning.pytorch.loggers.logger import Logger as LightningLogger
from matplotlib.figure import Figure
from torch import Tensor, nn

from imgrec import hparams, ranks
from imgrec.config import serialize
from imgrec.config.logger import Began, RunLogger, score_name
from imgrec.curve_file import read_curves
from imgrec.errors import interruption_in, sentence
from imgrec.job import Job
from imgrec.records import Score
from imgrec.training import process_state

log = logging.getLogger(__name__)


class RunLoggers:
    """The loggers that a configuration names, by their names.

    A logger that fails ends the run, as a full disk does: numbers that its user asked for would be missing. Only after
    another error, which counts, is a failure a warning.
    """

    def __init__(self, found: Mapping[str, LightningLogger]) -> None:
        self._found = dict(found)

    @classmethod
    def of(cls, job: Job, *, step: int) -> Self:
        """Build the loggers of a job that continues from `step`; none in other processes than the first."""
        config = job.config
        if ranks.rank() > 0:
            return cls({})
        with process_state.random_states_kept():  # a library may draw a name
            return cls(
                {
                    name: each.build(job.folder, run_id=job.run_id, step=step)
                    for name, each in config.logger.items()
                    if name != "tensorboard" or config.trainer.tensorboard
                }
            )

    @property
    def all(self) -> list[LightningLogger]:
        return list(self._found.values())

    @property
    def takes_figures(self) -> bool:
        """True if a figure would be shown anywhere."""
        return any(type(each).log_figure is not RunLogger.log_figure for each in self._told())

    def begin(self, job: Job, *, curves: Path | None, step: int) -> None:
        """Tell all loggers of the run.

        Args:
            job: The run.
            curves: The run's curves.csv, where it has rows of earlier processes; else None.
            step: The step that the run continues from.
        """
        settings = serialize.flat(job.config)
        run = Began(
            folder=job.folder.resolve(),
            run_id=job.run_id,
            parent=job.parent,
            settings={key: value for key, value in settings.items() if not key.startswith("logger.")},
            identity=hparams.values_of(settings, job.parent.name if job.parent else None),
        )
        with process_state.random_states_kept():
            for each in self._told():
                each.begin_run(run)
                if curves is not None and type(each).log_earlier is not RunLogger.log_earlier:
                    each.log_earlier(_rows(curves, step))

    def log_network(self, network: nn.Module, images_nchw: Tensor) -> None:
        for each in self._told():
            each.log_network(network, images_nchw)

    def log_scores(self, scores: Sequence[Score], *, step: int) -> None:
        for each in self._told():
            each.log_scores(scores, step=step)

    def log_figure(self, name: str, draw: Callable[[], Figure | None], *, step: int) -> None:
        """Draw a figure, if a logger takes one, and show it. draw: returns the figure; None if there is none."""
        if self.takes_figures and (figure := draw()) is not None:
            for each in self._told():
                each.log_figure(name, figure, step=step)

    @contextlib.contextmanager
    def ended(self) -> Iterator[None]:
        """Close the loggers after the block, with the status that its end tells."""
        try:
            yield
        except BaseException as error:
            status = "failed" if interruption_in(error) is None else "interrupted"
            for name, each in self._named():
                try:
                    each.end_run(status)
                except Exception as second:
                    log.warning("logger=%s was not closed after the run was %s: %s", name, status, sentence(second))
            raise
        with contextlib.ExitStack() as ends:  # one that fails keeps no other from its end
            for each in reversed(self._told()):
                ends.callback(each.end_run, "finished")

    def _told(self) -> list[RunLogger]:
        return [each for _, each in self._named()]

    def _named(self) -> list[tuple[str, RunLogger]]:
        return [(name, told(each)) for name, each in self._found.items()]


class _Plain(RunLogger):
    """A logger of Lightning's that knows nothing of runs: it takes the settings and the scores as it takes any."""

    def __init__(self, logger: LightningLogger) -> None:
        self._logger = logger

    def begin_run(self, run: Began) -> None:
        self._logger.log_hyperparams(dict(run.settings))

    def log_scores(self, scores: Sequence[Score], *, step: int) -> None:
        self._logger.log_metrics({score_name(score): score.value for score in scores}, step=step)

    def sync(self) -> None:
        self._logger.save()

    def end_run(self, status: str) -> None:
        self._logger.finalize("success" if status == "finished" else "failed")


def told(logger: LightningLogger) -> RunLogger:
    """Return what takes what a run tells besides its curves: the logger itself, or a plain one in its place."""
    return logger if isinstance(logger, RunLogger) else _Plain(logger)


def _rows(curves: Path, step: int) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield the values that curves.csv has up to a step, those of a step and epoch together."""
    rows = (row for row in read_curves(curves) if int(row["step"]) <= step)
    for (at, epoch), group in groupby(rows, key=lambda row: (int(row["step"]), float(row["epoch"]))):
        yield at, {**{f"{row['split']}/{row['metric']}": float(row["value"]) for row in group}, "epoch": epoch}
