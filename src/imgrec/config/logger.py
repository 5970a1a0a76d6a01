"""Define the logger axis: destinations of a run's numbers besides curves.csv. It is no part of a run's identity."""

import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from imgrec.config.component import Listed

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger as LightningLogger
    from matplotlib.figure import Figure
    from torch import Tensor, nn

    from imgrec.records import Score

Rows = Iterable[tuple[int, Mapping[str, float]]]
"""Logged values by their names, with their step, in the order of the steps."""


@dataclass(kw_only=True)
class Logger(Listed):
    """A logger of Lightning's kind.

    Attributes:
        leaves_folder: True if the logger also writes outside of the run's folder. Trials, rehearsals and verifications,
            which keep nothing or repeat what was logged, leave it out.
        draws_graphs: True if the logger shows the network's graph (trainer.log_graph).
    """

    axis: ClassVar[str] = "logger"
    leaves_folder: ClassVar[bool] = False
    draws_graphs: ClassVar[bool] = False

    @abstractmethod
    def build(self, folder: Path, *, run_id: str, step: int) -> "LightningLogger":
        """Return the logger of a run. It is called in the first process of a run only.

        Args:
            folder: The run's folder, whose last part is the run's name.
            run_id: The run's id, 64 hexadecimal digits.
            step: The step that the run continues from; 0 for a new run. Later entries of an earlier process are
                invalid.

        Returns:
            A logger of Lightning's. One that is a `RunLogger` as well is told more than curves.
        """


@dataclass(frozen=True, kw_only=True)
class Began:
    """What a logger is told of a run that begins or goes on.

    Attributes:
        folder: The run's folder.
        run_id: The run's id.
        parent: The folder of the run that this one continues from with changes; None for a run by itself.
        settings: The whole configuration with dotted keys and plain values, without the loggers' own settings, which
            may be private.
        identity: The values that make the run another one than its neighbours, by the keys of the command line.
    """

    folder: Path
    run_id: str
    parent: Path | None
    settings: Mapping[str, Any]
    identity: Mapping[str, bool | int | float | str]


class RunLogger:
    """What a logger may take of a run besides its curves. A logger of Lightning's inherits from this class too.

    Each method does nothing unless it is overridden. They are called in the first process of a run only.
    """

    def begin_run(self, run: Began) -> None:
        """Take the settings of a run that begins or goes on."""

    def log_earlier(self, rows: Rows) -> None:
        """Take what was logged up to the step that the run goes on from, in case some of it is missing."""

    def log_network(self, network: "nn.Module", images_nchw: "Tensor") -> None:
        """Take the network, and images that it can be traced with."""

    def log_scores(self, scores: "Sequence[Score]", *, step: int) -> None:
        """Take the scores of the final reading."""

    def log_figure(self, name: str, figure: "Figure", *, step: int) -> None:
        """Take a figure of the final reading."""

    def sync(self) -> None:
        """Write what was logged to where it lasts, before a checkpoint after which it is not logged again."""

    def end_run(self, status: str) -> None:
        """Close the logger. status: finished, interrupted or failed."""


def score_name(score: "Score") -> str:
    """Return the name of a score in loggers, such as `final/clean/test_top1_best`."""
    protocol = re.sub(r"[^\w./ -]", "_", score.protocol)
    return f"final/{protocol}/{score.split}_{score.metric}_{score.at}"


def curve_name(name: str) -> str:
    """Return the name of a logged value as curves.csv has it: `lr` is `train/lr`."""
    return name if "/" in name or name == "epoch" else f"train/{name}"
