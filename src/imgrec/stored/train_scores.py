"""Check the stored counts of an unfinished epoch, as `Scores.state` returns them."""

from typing import Any

import torch

from imgrec import value_checks
from imgrec.stored.tensors import dense, described

TRAIN_SCORES = "train_scores"  # the key in the checkpoint


def check(value: Any, *, classes: int) -> None:
    """Check that the value contains counts of that many classes, one entry per process.

    Raises:
        ValueError, KeyError: The value has another form.
    """
    for counts in value_checks.items(value, TRAIN_SCORES):
        held = value_checks.mapping(counts, TRAIN_SCORES)
        for name, count in value_checks.mapping(held["counts"], "counts").items():
            dense(count, f"train_scores' {name}")
        for batch in value_checks.items(held["waiting"], "train_scores' waiting"):
            _check_waiting(value_checks.items(batch, "a waiting batch", length=3), classes)


def _check_waiting(batch: list[Any], classes: int) -> None:
    """Check logits (N, K), targets (N,) or (N, K), and their loss."""
    logits_nk, targets, loss = (dense(value, "a waiting batch") for value in batch)
    images = logits_nk.shape[0] if logits_nk.ndim == 2 else -1
    fits = logits_nk.shape == (images, classes) and targets.shape in ((images,), (images, classes)) and loss.ndim == 0
    if not fits or not logits_nk.is_floating_point() or not loss.is_floating_point():
        shapes = ", ".join(map(described, batch))
        raise ValueError(f"a waiting batch must be logits, targets and a loss of {classes} classes, got {shapes}")
    are_classes = targets.dtype == torch.int64 and bool(((targets >= 0) & (targets < classes)).all())
    if targets.ndim == 1 and not are_classes:
        raise ValueError(
            f"the targets of a waiting batch must be classes from 0 to {classes - 1}, got {described(targets)}"
        )
