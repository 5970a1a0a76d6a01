"""Write what TensorBoard shows of a run: curves, a row of the HPARAMS table, figures, the network's graph."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from matplotlib.figure import Figure
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor, nn

from imgrec import hparams
from imgrec.config.logger import Began, RunLogger
from imgrec.records import Score

_FIRST = {
    "val/loss": "1 validation/loss",
    "val/top1": "1 validation/top1",
    "train/loss": "2 training/loss",
    "train/top1": "2 training/top1",
}
"""Curves that are written a second time, as TensorBoard sorts tags by name and opens the first two groups."""


class Board(TensorBoardLogger, RunLogger):
    """The event files of a run.

    Args:
        folder: The folder of the event files.
        step: The step that the run continues from. Later events, of an interrupted run, are removed from the curves.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        self._is_new = not folder.is_dir()
        super().__init__(
            save_dir=folder.parent,
            name=folder.name,
            version="",
            default_hp_metric=False,
            purge_step=step + 1 if step else 0,
        )

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        first = {_FIRST[name]: value for name, value in metrics.items() if name in _FIRST}
        super().log_metrics({**first, **metrics}, step)

    @rank_zero_only
    def save(self) -> None:
        """Flush, but do not write Lightning's hparams.yaml, as config.yaml in the run's folder contains all values."""
        super(TensorBoardLogger, self).save()

    def begin_run(self, run: Began) -> None:
        """Add a new run to the HPARAMS table, without scores.

        The runs in the same folder decide which of its values become columns (`imgrec.board`).
        """
        if self._is_new:
            self._write(hparams.run_began(run.identity, trial=run.folder.name))

    def log_network(self, network: nn.Module, images_nchw: Tensor) -> None:
        """Write a new run's network as a graph."""
        if self._is_new:
            self.experiment.add_graph(network, images_nchw)

    def log_scores(self, scores: Sequence[Score], *, step: int) -> None:
        """Add the scores to the HPARAMS table; of the test set those under the first protocol."""
        protocol = next((score.protocol for score in scores if score.split == "test"), "clean")
        values = {
            hparams.score_tag(score.split, score.metric, score.at): score.value
            for score in scores
            if score.protocol == (protocol if score.split == "test" else "clean") and score.metric in ("top1", "loss")
        }
        self.log_metrics(values, step=step)
        self._write(hparams.run_ended())

    def log_figure(self, name: str, figure: Figure, *, step: int) -> None:
        self.experiment.add_figure(name, figure, step)

    def sync(self) -> None:
        self.experiment.flush()

    def end_run(self, status: str) -> None:
        self.finalize("success" if status == "finished" else "failed")

    def _write(self, message: Summary) -> None:
        self.experiment._get_file_writer().add_summary(message)


def logger(folder: Path, *, step: int) -> Board:
    """Return the event files of a run, as `Board`."""
    threading.excepthook = _without_the_writer
    return Board(folder, step=step)


def _without_the_writer(failed: threading.ExceptHookArgs) -> None:
    """Print the exception that ended a thread, except for the event writer, which raises it again at its next use."""
    if type(failed.thread).__name__ != "_AsyncWriterThread":
        threading.__excepthook__(failed)
