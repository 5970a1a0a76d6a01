"""Write what TensorBoard shows of a run: curves, a row of the HPARAMS table, confusion matrix, mistakes, graph."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from matplotlib.figure import Figure
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import nn

from imgrec import hparams
from imgrec.config import serialize
from imgrec.config.root import Config
from imgrec.data.source import Images, Source
from imgrec.errors import shown
from imgrec.inference import Predictions
from imgrec.records import Score

_FIRST = {
    "val/loss": "1 validation/loss",
    "val/top1": "1 validation/top1",
    "train/loss": "2 training/loss",
    "train/top1": "2 training/top1",
}
"""Curves that are written a second time, as TensorBoard sorts tags by name and opens the first two groups."""
_MOST_CLASSES = 24  # in a readable confusion matrix; records and reports contain larger ones


class Board(TensorBoardLogger):
    """The event files of a run."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        first = {_FIRST[name]: value for name, value in metrics.items() if name in _FIRST}
        super().log_metrics({**first, **metrics}, step)

    @rank_zero_only
    def save(self) -> None:
        """Flush, but do not write Lightning's hparams.yaml, as config.yaml in the run's folder contains all values."""
        super(TensorBoardLogger, self).save()


def logger(folder: Path, *, step: int) -> Board:
    """Return the event files of a run.

    Args:
        folder: The run's folder.
        step: Later events, of an interrupted run, are removed from the curves.
    """
    threading.excepthook = _without_the_writer
    return Board(
        save_dir=folder.parent,
        name=folder.name,
        version="",
        default_hp_metric=False,
        purge_step=step + 1 if step else 0,
    )


def _without_the_writer(failed: threading.ExceptHookArgs) -> None:
    """Print the exception that ended a thread, except for the event writer, which raises it again at its next use."""
    if type(failed.thread).__name__ != "_AsyncWriterThread":
        threading.__excepthook__(failed)


def open_hparams(board: Board, config: Config, *, trial: str, parent: Path | None) -> None:
    """Add the run to the HPARAMS table, without scores.

    The runs in the same folder decide which of its values become columns (`imgrec.board`).

    Args:
        board: The event files.
        config: The run's configuration.
        trial: The name of the run's folder.
        parent: The folder of the parent run.
    """
    values = hparams.values_of(serialize.flat(config), parent.name if parent else None)
    _write(board, hparams.run_began(values, trial=trial))


def close_hparams(board: Board, scores: Sequence[Score], *, protocol: str, step: int) -> None:
    """Add the measured scores to the HPARAMS table; of the test set those under this protocol."""
    values = {
        hparams.score_tag(score.split, score.metric, score.at): score.value
        for score in scores
        if score.protocol == (protocol if score.split == "test" else "clean") and score.metric in ("top1", "loss")
    }
    board.log_metrics(values, step=step)
    _write(board, hparams.run_ended())


def _write(board: Board, message: Summary) -> None:
    board.experiment._get_file_writer().add_summary(message)


def show_confusion(
    board: Board, matrix: Sequence[Sequence[int]], classes: Sequence[str], *, title: str, step: int
) -> None:
    """Draw the confusion matrix: true class by row, predicted by column, shaded by the share of the row.

    A matrix of more than 24 classes is left out, as its names and counts would be unreadable.
    """
    if len(classes) > _MOST_CLASSES:
        return
    counts = torch.tensor(matrix, dtype=torch.float64)
    shares = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
    side = 2 + 0.36 * len(classes)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    names = [shown(name) for name in classes]
    axes.set_xticks(range(len(classes)), names, rotation=90, parse_math=False)
    axes.set_yticks(range(len(classes)), names, parse_math=False)
    for row in range(len(classes)):
        for column in range(len(classes)):
            if counts[row, column]:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=9)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title)
    board.experiment.add_figure("confusion", figure, step)


def show_mistakes(
    board: Board,
    images: Images,
    predictions: Predictions,
    classes: Sequence[str],
    *,
    title: str,
    step: int,
    count: int = 24,
) -> None:
    """Draw a grid of the most confident mistakes: the predicted class and its probability above the true class."""
    worst = predictions.worst(count)
    if not len(worst):
        return
    pixels, readable = images.read(predictions.indices_n[worst])
    worst = worst[readable]
    columns = 6
    rows = -(-len(worst) // columns)
    figure = Figure(figsize=(1.7 * columns, 2.1 * rows + 0.4), layout="constrained")
    confidence, predicted = predictions.confidence_n[worst], predictions.predicted_n[worst]
    truth = predictions.targets_n[worst]
    for k, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if k < len(worst):
            axes.imshow(pixels[k].permute(1, 2, 0).numpy(), interpolation="nearest")
            said, true = shown(classes[int(predicted[k])]), shown(classes[int(truth[k])])
            axes.set_title(f"{said} {float(confidence[k]):.0%}\ntrue: {true}", fontsize=8, parse_math=False)
    figure.suptitle(f"the most confident mistakes: {title}")
    board.experiment.add_figure("mistakes", figure, step)


def show_graph(board: Board, network: nn.Module, source: Source) -> None:
    """Write the network's graph, traced on one grey image."""
    board.experiment.add_graph(network, torch.full((1, source.channels, source.image_size, source.image_size), 0.5))
