"""Compute the scores of a stage (train, val, test) of a classifier.

N images in B batches, K classes. Everything is a sum over images, in one torchmetrics Metric, which moves with the
module and sums over processes. torchmetrics' own metrics are not used: each would count the same hits, a collection
permanently merges two metrics that agree on the first images, and in a deterministic run its confusion matrix takes N
K^2 numbers.
"""

from collections.abc import Callable
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from imgrec.errors import RunError

CALIBRATION_BINS = 15  # Guo et al. 2017, table 1
_TOP = 5
_BLOCK = 64  # batches counted at a time: metrics run in Python, and a step of a small network is short


def calibration_bins(confidence_n: Tensor) -> Tensor:
    """Return the bin of each confidence: equal bins (low, high], numbered from 0."""
    edges = torch.linspace(0, 1, CALIBRATION_BINS + 1, device=confidence_n.device)
    return torch.bucketize(confidence_n, edges[1:-1])


class Counts(Metric):
    """The sums that scores are computed from. All are exact, except those of confidences and losses."""

    full_state_update = False
    confusion: Tensor  # int64 (K, K): images, true class by row
    among_top: Tensor  # int64: images whose class is among the five most probable
    bins: Tensor  # float64 (bins, 3): images of a confidence, the sum of their confidences, their hits
    losses: Tensor  # float64: images, the sum of their losses

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.add_state("confusion", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("among_top", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("bins", torch.zeros(CALIBRATION_BINS, 3, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("losses", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, probabilities_nk: Tensor, targets_n: Tensor, losses_b: Tensor, sizes_b: Tensor) -> None:
        """Add batches.

        Args:
            probabilities_nk: (N, K).
            targets_n: Class indices.
            losses_b: The batches' mean losses.
            sizes_b: The batches' numbers of images.
        """
        confidence_n, predicted_n = probabilities_nk.max(dim=1)
        cells_n = targets_n * self.num_classes + predicted_n
        self.confusion.view(-1).index_add_(0, cells_n, torch.ones_like(cells_n))
        if self.num_classes > _TOP:
            top_n5 = probabilities_nk.topk(_TOP, dim=1).indices
            self.among_top += (top_n5 == targets_n[:, None]).sum()
        rows_n3 = torch.stack([torch.ones_like(confidence_n), confidence_n, predicted_n == targets_n], dim=1)
        member_nb = torch.nn.functional.one_hot(calibration_bins(confidence_n), CALIBRATION_BINS)
        self.bins += member_nb.double().T @ rows_n3.double()  # no scattered additions: a GPU adds them in any order
        self.losses += torch.stack([sizes_b.sum().double(), (losses_b.double() * sizes_b).sum()])

    def compute(self) -> dict[str, Tensor]:
        """Return the values that `Scores` describes."""
        confusion = self.confusion.float()
        hits, images = confusion.diag(), confusion.sum()
        scores = {
            "top1": hits.sum() / images,
            "iou": _mean_iou(confusion),
            "balanced_accuracy": _balanced_accuracy(confusion),
            "macro_f1": _macro_f1(confusion),
            "ece": _calibration_error(self.bins),
            "loss": (self.losses[1] / self.losses[0]).float(),
            "confusion": self.confusion.clone(),
        }
        if self.num_classes > _TOP:
            scores["top5"] = self.among_top.float() / images
        return scores


def _mean_iou(confusion: Tensor) -> Tensor:
    """Return the mean IoU over the classes that are true or predicted for an image."""
    hits = confusion.diag()
    union = confusion.sum(dim=0) + confusion.sum(dim=1) - hits
    occurs = (union > 0).float()
    iou = hits / union.clamp_min(1)
    return (occurs * iou / occurs.sum()).sum()


def _balanced_accuracy(confusion: Tensor) -> Tensor:
    """Return the mean recall over the classes that are true for an image (Brodersen et al. 2010)."""
    true = confusion.sum(dim=1)
    return (confusion.diag() / true.clamp_min(1)).sum() / (true > 0).sum()


def _macro_f1(confusion: Tensor) -> Tensor:
    """Return the mean F1 = 2 TP / (2 TP + FP + FN) over the classes that are true or predicted for an image."""
    both = confusion.sum(dim=0) + confusion.sum(dim=1)
    return (2 * confusion.diag() / both.clamp_min(1)).sum() / (both > 0).sum()


def _calibration_error(bins: Tensor) -> Tensor:
    """Return the expected calibration error (Guo et al. 2017, equation 3).

    torchmetrics puts a confidence of exactly 1, which is common for overconfident networks, into a sixteenth bin.
    """
    images, confidence, hits = bins.T
    error: Tensor = (confidence - hits).abs().sum() / images.sum()
    return error.float()


class Scores(nn.Module):
    """Computes the scores of all batches since the last reset.

    Batches wait, 64 of them are handed at once to `Counts`, and a checkpoint can hold both. A metric of its own
    for each batch would cost a small network's step more time than its loss.

    Scalars are fractions in [0, 1], except the loss: `top1`; `top5` from six classes on; `loss`, the mean over images;
    `iou`, the classes' mean of TP / (TP + FP + FN) (Jaccard 1901); `balanced_accuracy`, the classes' mean recall
    (Brodersen et al. 2010); `macro_f1`, the classes' mean F1; `ece`, the expected calibration error over 15 equal bins
    (Guo et al. 2017). The table `confusion` (K, K) contains counts, with one row for each true class. A soft
    target counts as its most probable class.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.counts = Counts(num_classes)
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move waiting batches too, as a resumed run loads them before its network moves to the device."""
        self._waiting = [(fn(logits), fn(targets), fn(loss)) for logits, targets, loss in self._waiting]
        return cast(Self, super()._apply(fn, recurse))  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def update(self, logits_nk: Tensor, targets: Tensor, loss: Tensor) -> None:
        """Add a batch.

        Args:
            logits_nk: (N, K).
            targets: Class indices (N,) or probabilities (N, K).
            loss: The batch's mean loss, a scalar.
        """
        if len(self._waiting) >= _BLOCK:
            self.count()
        indices_n = targets.argmax(dim=1) if targets.ndim == 2 else targets
        self._waiting.append((logits_nk.detach(), indices_n, loss.detach()))

    def forget_last(self) -> None:
        """Remove the latest batch, as its step is not taken."""
        self._waiting.pop()

    @torch.no_grad()
    def count(self) -> None:
        """Count the waiting batches."""
        if not self._waiting:
            return
        logits, targets, losses = zip(*self._waiting, strict=True)
        self._waiting.clear()
        # filled on the device: numbers that are copied to a GPU would be waited for
        sizes = torch.full((len(targets),), len(targets[0]), device=losses[0].device)
        for number, batch in enumerate(targets):
            if len(batch) != len(targets[0]):
                sizes[number] = len(batch)
        self.counts.update(torch.cat(logits).float().softmax(dim=1), torch.cat(targets), torch.stack(losses), sizes)

    def compute(self) -> dict[str, Tensor]:
        """Return scalars and the table of everything since the last reset, over all processes."""
        self.count()
        return self.counts.compute()

    def scalars(self) -> dict[str, float]:
        """Return the scalars of `compute`; a GPU is waited for once."""
        scalars = {name: value for name, value in self.compute().items() if value.ndim == 0}
        return dict(zip(scalars, torch.stack(list(scalars.values())).tolist(), strict=True))

    def state(self) -> dict[str, Any]:
        """Return the counts and the waiting batches as plain containers of tensors, for a checkpoint.

        Waiting batches are not counted early, as sums of floats would then round differently than without the
        checkpoint.
        """
        self.counts.persistent(True)  # only here: counts are no weights, and not in the module's own state_dict
        counts = {name: value.clone() for name, value in self.state_dict().items()}
        self.counts.persistent(False)
        return {"counts": counts, "waiting": [list(batch) for batch in self._waiting]}

    def load(self, state: dict[str, Any]) -> None:
        """Continue counting from a state.

        Raises:
            RunError: The counts are those of another version of imgrec.
        """
        self.reset()
        kinds = {name: (value.shape, value.dtype) for name, value in self.state()["counts"].items()}
        try:
            for name, value in state["counts"].items():  # torchmetrics accepts any shape
                if kinds.get(name, (value.shape, value.dtype)) != (value.shape, value.dtype):
                    raise RuntimeError(f"{name} is {value.dtype} of shape {tuple(value.shape)}")
            self.load_state_dict(state["counts"])
        except RuntimeError as error:
            raise RunError(
                f"the checkpoint must hold the counts that this version keeps, got {', '.join(state['counts'])}; go on"
                " with the version that wrote it, or start over in another folder"
            ) from error
        device = self.counts.device
        self._waiting = [
            (logits.to(device), targets.to(device), loss.to(device)) for logits, targets, loss in state["waiting"]
        ]

    def reset(self) -> None:
        self._waiting.clear()
        self.counts.reset()
