"""The scores of a stage (train, val, test) of a classifier, as torchmetrics count them.

N images, K classes.
"""

from collections.abc import Callable
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassJaccardIndex,
)

CALIBRATION_BINS = 15  # Guo et al. 2017, table 1
_BLOCK = 64  # batches counted at a time: metrics are Python, and a step of a small network is short


def calibration_bins(confidence_n: Tensor) -> Tensor:
    """The bin of each confidence: equal bins (low, high], numbered from 0."""
    edges = torch.linspace(0, 1, CALIBRATION_BINS + 1, device=confidence_n.device)
    return torch.bucketize(confidence_n, edges[1:-1])


class CalibrationError(Metric):
    """Expected calibration error (Guo et al. 2017, equation 3).

    torchmetrics' own puts a confidence of exactly 1, which is what overconfident networks say, into a sixteenth bin.
    """

    full_state_update = False
    sums: Tensor  # of each bin: images, their confidence, their hits

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(CALIBRATION_BINS, 3, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        confidence_n, predicted_n = preds.max(dim=1)
        rows_n3 = torch.stack([torch.ones_like(confidence_n), confidence_n, predicted_n == target], dim=1)
        member_nb = torch.nn.functional.one_hot(calibration_bins(confidence_n), CALIBRATION_BINS)
        self.sums += member_nb.double().T @ rows_n3.double()  # no scattered additions: those have no order on a GPU

    def compute(self) -> Tensor:
        images, confidence, hits = self.sums.T
        error: Tensor = (confidence - hits).abs().sum() / images.sum()
        return error.float()


class MeanLoss(Metric):
    """The mean over images, of batches' means; one that is not a number is reported as it is.

    torchmetrics' own forgets the batches' sizes where it may keep what is not a number (nan_strategy="disable").
    """

    full_state_update = False
    sums: Tensor  # images, their loss

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, losses: Tensor, sizes: Tensor) -> None:
        self.sums += torch.stack([sizes.sum().double(), (losses.double() * sizes).sum()])

    def compute(self) -> Tensor:
        images, loss = self.sums
        mean: Tensor = loss / images
        return mean.float()


class Scores(nn.Module):
    """Counts batches and gives, of all of them, scalars and tables.

    Scalars, fractions in [0, 1] but for the loss: `top1`; `top5` from six classes on; `loss`, the mean over images;
    `iou`, the classes' mean of TP / (TP + FP + FN) (Jaccard 1901); `ece`, the expected calibration error over 15
    equal bins (Guo et al. 2017). Tables: `per_class` (K,) accuracies, `confusion` (K, K) counts, true class by row.
    A soft target counts as its most probable class.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        k: dict[str, Any] = {"num_classes": num_classes, "validate_args": False}
        metrics: dict[str, Metric | MetricCollection] = {
            "top1": MulticlassAccuracy(**k, average="micro"),
            "iou": MulticlassJaccardIndex(**k, average="macro"),
            "ece": CalibrationError(),
            "per_class": MulticlassAccuracy(**k, average="none"),
            "confusion": MulticlassConfusionMatrix(**k),
        }
        if num_classes > 5:
            metrics["top5"] = MulticlassAccuracy(**k, average="micro", top_k=5)
        self.counts = MetricCollection(metrics)
        self.loss = MeanLoss()
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move the batches that wait along: a resumed run loads them before its network goes to the device."""
        self._waiting = [(fn(logits), fn(targets), fn(loss)) for logits, targets, loss in self._waiting]
        return cast(Self, super()._apply(fn, recurse))  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def update(self, logits_nk: Tensor, targets: Tensor, loss: Tensor) -> None:
        """Take in a batch. targets: class indices (N,) or probabilities (N, K). loss: its mean, a scalar."""
        if len(self._waiting) >= _BLOCK:
            self.count()
        indices_n = targets.argmax(dim=1) if targets.ndim == 2 else targets
        self._waiting.append((logits_nk.detach(), indices_n, loss.detach()))

    def forget_last(self) -> None:
        """Leave out the batch that came last: its step is not taken."""
        self._waiting.pop()

    @torch.no_grad()
    def count(self) -> None:
        """Count the batches that wait."""
        if not self._waiting:
            return
        logits, targets, losses = zip(*self._waiting, strict=True)
        self._waiting.clear()
        sizes = torch.tensor([len(batch) for batch in targets], device=losses[0].device)
        # probabilities, since torchmetrics would guess from the values whether they are
        self.counts.update(torch.cat(logits).float().softmax(dim=1), torch.cat(targets))
        self.loss.update(torch.stack(losses), sizes)

    def compute(self) -> dict[str, Tensor]:
        """Scalars and tables of everything since the last reset; across processes when there are several."""
        self.count()
        return {**self.counts.compute(), "loss": self.loss.compute()}

    def scalars(self) -> dict[str, float]:
        return {name: float(value) for name, value in self.compute().items() if value.ndim == 0}

    def state(self) -> dict[str, Any]:
        """The counts so far and the batches that wait, as plain containers of tensors, for a checkpoint.

        Nothing is counted early for it: sums of floats would round otherwise than without the checkpoint.
        """
        self._persist(True)  # only here: counts are no weights, and stay out of the module's own state_dict
        counts = {
            name: [part.clone() for part in value] if isinstance(value, list) else value.clone()
            for name, value in self.state_dict().items()
        }
        self._persist(False)
        return {"counts": counts, "waiting": [list(batch) for batch in self._waiting]}

    def load(self, state: dict[str, Any]) -> None:
        """Go on counting from what `state` gave."""
        self.reset()
        self.load_state_dict(state["counts"])
        device = self.loss.device
        self._waiting = [
            (logits.to(device), targets.to(device), loss.to(device)) for logits, targets, loss in state["waiting"]
        ]

    def _persist(self, mode: bool) -> None:
        self.counts.persistent(mode)
        self.loss.persistent(mode)

    def reset(self) -> None:
        self._waiting.clear()
        self.counts.reset()
        self.loss.reset()
