"""Draw what loggers show of a run's final reading: the confusion matrix, and the most confident mistakes."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure

from imgrec.data.source import Images
from imgrec.errors import shown
from imgrec.inference import Predictions

_MOST_CLASSES = 24  # in a readable confusion matrix; records and reports contain larger ones


def confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str], *, title: str) -> Figure | None:
    """Draw the confusion matrix: true class by row, predicted by column, shaded by the share of the row.

    Returns:
        None for more than 24 classes, as their names and counts would be unreadable.
    """
    if len(classes) > _MOST_CLASSES:
        return None
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
    return figure


def mistakes(
    images: Images, predictions: Predictions, classes: Sequence[str], *, title: str, count: int = 24
) -> Figure | None:
    """Draw a grid of the most confident mistakes: the predicted class and its probability above the true class.

    Returns:
        None if there are no mistakes.
    """
    worst = predictions.worst(count)
    if not len(worst):
        return None
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
    return figure
