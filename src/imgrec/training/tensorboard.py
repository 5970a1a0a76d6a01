"""What TensorBoard shows beyond curves: the HPARAMS table, confusion matrix, confident mistakes, the graph."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from torch import nn

from imgrec.config import plain
from imgrec.config.compose import key_of
from imgrec.config.identity import essence
from imgrec.config.root import Config
from imgrec.config.schemas import keys_outside_identity
from imgrec.data.source import Images, Source
from imgrec.errors import shown
from imgrec.evaluation import Predictions
from imgrec.records import Score

_USUAL = ("optimizer.lr", "optimizer.lr_scale", "data.batch_size", "trainer.max_epochs", "seed")
_SMALL = 24  # classes up to which a confusion matrix shows its counts


def logger(folder: Path, *, step: int) -> TensorBoardLogger:
    """The event files of a run. step: events after it, of an interrupted run, are dropped from the curves."""
    threading.excepthook = _without_the_writer
    return TensorBoardLogger(
        save_dir=folder.parent,
        name=folder.name,
        version="",
        default_hp_metric=False,
        purge_step=step + 1 if step else 0,
    )


def _without_the_writer(failed: threading.ExceptHookArgs) -> None:
    """Print what ended a thread, but for the event writer's: it raises the same again at its next use, to be told."""
    if type(failed.thread).__name__ != "_AsyncWriterThread":
        threading.__excepthook__(failed)


def open_hparams(board: TensorBoardLogger, config: Config, command: Sequence[str], names: Sequence[str]) -> None:
    """Enter the run into the HPARAMS table; its scores follow at the end, until then they are empty.

    command: the overrides that asked for the run. TensorBoard makes columns of what the first run names, so each run of
    a sweep names what their command varies, also where this one has the default.
    """
    rows = {
        key: value if isinstance(value, (bool, int, float, str)) else str(value)
        for key, value in _telling(config, command).items()
    }
    board.log_hyperparams(rows, {name: float("nan") for name in names})


def _telling(config: Config, command: Sequence[str]) -> dict[str, Any]:
    """What tells runs apart, of some eighty keys: choices, what is no default, what the command gives, the usual."""
    named = {key_of(word) for word in command}
    keys = {*essence(config), *named, *(f"{key}.name" for key in named), *_USUAL} - keys_outside_identity()
    return {key: value for key, value in plain.flat(config).items() if key in keys or key == "experiment"}


def hparam_names(config: Config, source: Source) -> list[str]:
    """The columns of the HPARAMS table: top1 and loss of each split that is measured, final and best."""
    splits = [split for split, present in (("val", source.val is not None), ("test", config.test)) if present]
    places = ("best", "last") if source.val is not None else ("last",)
    return [f"hp/{split}_{metric}_{at}" for split in splits for metric in ("top1", "loss") for at in places]


def close_hparams(board: TensorBoardLogger, scores: Sequence[Score], *, protocol: str, step: int) -> None:
    """Fill in the scores that were measured, the test set's under this protocol."""
    values = {
        f"hp/{score.split}_{score.metric}_{score.at}": score.value
        for score in scores
        if score.protocol == (protocol if score.split == "test" else "clean") and score.metric in ("top1", "loss")
    }
    board.log_metrics(values, step=step)


def show_confusion(
    board: TensorBoardLogger, matrix: Sequence[Sequence[int]], classes: Sequence[str], *, title: str, step: int
) -> None:
    """The confusion matrix as a figure: true class by row, predicted by column, shaded by the row's share."""
    counts = torch.tensor(matrix, dtype=torch.float64)
    shares = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
    side = min(4 + 0.45 * len(classes), 20)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    if len(classes) <= _SMALL:
        names = [shown(name) for name in classes]
        axes.set_xticks(range(len(classes)), names, rotation=90, parse_math=False)
        axes.set_yticks(range(len(classes)), names, parse_math=False)
        for row in range(len(classes)):
            for column in range(len(classes)):
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title)
    board.experiment.add_figure("confusion", figure, step)


def show_mistakes(
    board: TensorBoardLogger,
    images: Images,
    predictions: Predictions,
    classes: Sequence[str],
    *,
    title: str,
    step: int,
    count: int = 24,
) -> None:
    """A grid of the most confident mistakes: predicted class and its probability over the true class."""
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


def show_graph(board: TensorBoardLogger, network: nn.Module, source: Source) -> None:
    """The network's graph, traced on one grey image."""
    board.experiment.add_graph(network, torch.full((1, source.channels, source.image_size, source.image_size), 0.5))
