"""What the article's listings do when they are run: `python experiments/article/evidence.py` prints a line for each.

Each line is computed or raised here, on the installed libraries; the table in README.md quotes them.
"""

from collections.abc import Callable

import torch
import torchvision
from torch import nn
from torchvision.models import ResNet50_Weights

BATCH, CLASSES, TRAIN_IMAGES = 64, 10, 50_000


def main() -> None:
    for what, look in (
        ("what reaches the hidden layer", flattened),
        ("torch.out", lambda: torch.out),  # type: ignore[attr-defined]
        ("Tensor.new_keys", lambda: torch.zeros(1).new_keys),  # type: ignore[attr-defined]
        ("a loss class that is called with a batch", uninstantiated_loss),
        ("torchvision.datasets.cifar10.train", lambda: torchvision.datasets.cifar10.train),
        ("the loss that is printed", printed_loss),
        ("the IoU of a perfect classifier", perfect_iou),
        ("ResNet-50 on ImageNet, as published with the weights", resnet50),
    ):
        print(f"{what}: {_said(look)}")


def flattened() -> str:
    """Three 2x2 max-poolings leave 4x4 of 32x32; a view to 128 * 8 * 8 columns then takes four images a row."""
    maps = nn.Sequential(*(layer for c in ((3, 32), (32, 64), (64, 128)) for layer in _stage(*c)))(
        torch.zeros(BATCH, 3, 32, 32)
    )
    rows = maps.view(-1, 128 * 8 * 8)
    try:
        nn.functional.cross_entropy(nn.Linear(128 * 8 * 8, CLASSES)(rows), torch.zeros(BATCH, dtype=torch.int64))
        outcome = "accepted"
    except ValueError as error:
        outcome = f"ValueError: {error}"
    return f"maps {tuple(maps.shape)}, viewed as {tuple(rows.shape)}; with {BATCH} labels: {outcome}"


def _stage(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1), nn.ReLU(), nn.MaxPool2d(2)


def uninstantiated_loss() -> object:
    return nn.CrossEntropyLoss(torch.zeros(BATCH, CLASSES), torch.zeros(BATCH, dtype=torch.int64))


def printed_loss() -> str:
    """A running sum that is divided by the number of batches after every batch forgets all but the last loss."""
    batches = -(-TRAIN_IMAGES // BATCH)
    running = 0.0
    for _ in range(batches):
        running = (running + 2.3026) / batches
    return f"{running:.4f} for an epoch of {batches} batches that each have the loss 2.3026 = ln 10"


def perfect_iou() -> str:
    """With FP read, as the article says, as the truly negative samples."""
    positives, negatives = 1_000, 9_000
    true_positives, false_positives, false_negatives = positives, 0, 0
    article = true_positives / (true_positives + negatives)
    jaccard = true_positives / (true_positives + false_positives + false_negatives)
    return f"{article:.1f} by the article's definitions, {jaccard:.1f} by TP / (TP + FP + FN), for each of ten classes"


def resnet50() -> str:
    return ", ".join(
        f"{weights.name} top-1 {scores['acc@1']} % top-5 {scores['acc@5']} %"
        for weights in ResNet50_Weights
        for scores in [weights.meta["_metrics"]["ImageNet-1K"]]
    )


def _said(look: Callable[[], object]) -> str:
    try:
        return str(look())
    except (AttributeError, RuntimeError, TypeError) as error:
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
