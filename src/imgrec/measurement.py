"""Turn predictions into scores and diagnostics.

N images, K classes. Measurements use float32 unless bf16 is requested, whatever the arithmetic of the training.
"""

import math
from typing import Any

import torch
from torch import Tensor

from imgrec import calibration
from imgrec.diagnostics import confusion as as_stored
from imgrec.errors import RunError
from imgrec.inference import Predictions
from imgrec.losses import LossFunction
from imgrec.proportions import wilson
from imgrec.records import Score
from imgrec.scores import CALIBRATION_BINS, Scores, calibration_bins


def measure(predictions: Predictions, loss: LossFunction, *, split: str, protocol: str, at: str) -> list[Score]:
    """Return the scores of a split, one per metric.

    With a fitted temperature, they include `nll` (nats), and `nll_calibrated` and `ece_calibrated` with the
    temperature.

    Args:
        predictions: The network's outputs.
        loss: The run's own loss, so that its value is comparable with the curves.
        split: The split's name.
        protocol: The label of the predictions.
        at: best or last.

    Raises:
        RunError: The network's outputs are not finite.
    """
    scores = Scores(predictions.logits_nk.shape[1])
    scores.update(predictions.logits_nk, predictions.targets_n, loss(predictions.logits_nk, predictions.targets_n))
    n = len(predictions.targets_n)
    values = scores.scalars()
    if not math.isfinite(values["loss"]):
        way_out = "train again with a lower optimizer.lr or trainer.gradient_clip=1"
        if protocol != "clean":
            way_out += f", or, where clean images have scores, leave {protocol.partition(':')[0]} out of test_protocols"
        raise RunError(
            f"the loss on {split} at {at} ({protocol}) must be finite, got {values['loss']}: the network's outputs are"
            f" no numbers to score; {way_out}"
        )
    settings: dict[str, Any] = {"precision": predictions.precision, **predictions.settings}
    calibrated = settings
    if predictions.temperature is not None:
        calibrated = {**settings, "temperature": round(predictions.temperature, 7)}
        values |= _calibrated(predictions, predictions.temperature)
    return [
        Score(
            split=split,
            protocol=protocol,
            metric=metric,
            value=round(value, 7),  # float32 has no more digits
            n=n,
            at=at,
            settings=calibrated if metric.endswith("_calibrated") else settings,
            ci=wilson(value, n) if metric in ("top1", "top5") else None,
        )
        for metric, value in sorted(values.items())
    ]


def _calibrated(predictions: Predictions, temperature: float) -> dict[str, float]:
    logits_nk, targets_n = predictions.logits_nk, predictions.targets_n
    scores = Scores(logits_nk.shape[1])
    scores.update(logits_nk / temperature, targets_n, torch.zeros(()))
    return {
        "nll": calibration.negative_log_likelihood(logits_nk, targets_n),
        "nll_calibrated": calibration.negative_log_likelihood(logits_nk / temperature, targets_n),
        "ece_calibrated": scores.scalars()["ece"],
    }


def diagnose(predictions: Predictions, classes: tuple[str, ...]) -> dict[str, Any]:
    """Return the confusion matrix, scores per class and calibration bins, as `imgrec.diagnostics` reads them."""
    scores = Scores(len(classes))
    scores.update(predictions.logits_nk, predictions.targets_n, torch.zeros(()))
    confusion = scores.compute()["confusion"]
    hits, true, said = confusion.diag(), confusion.sum(dim=1), confusion.sum(dim=0)
    return {
        "classes": list(classes),
        **as_stored(confusion.tolist()),
        "per_class": [
            {
                "class": name,
                "n": int(true[k]),
                "accuracy": _share(hits[k], true[k]),
                "precision": _share(hits[k], said[k]),
                "iou": _share(hits[k], true[k] + said[k] - hits[k]),
            }
            for k, name in enumerate(classes)
        ],
        "calibration": _calibration(predictions),
    }


def _share(part: Tensor, whole: Tensor) -> float | None:
    return float(part / whole) if whole else None


def _calibration(predictions: Predictions) -> list[dict[str, Any]]:
    """Return bins (low, high] of confidence with the number of images, their mean confidence and their accuracy."""
    confidence = predictions.confidence_n
    right = (predictions.predicted_n == predictions.targets_n).float()
    edges = torch.linspace(0, 1, CALIBRATION_BINS + 1)
    bins = calibration_bins(confidence)
    rows = []
    for k in range(CALIBRATION_BINS):
        inside = bins == k
        n = int(inside.sum())
        rows.append(
            {
                "low": float(edges[k]),
                "high": float(edges[k + 1]),
                "n": n,
                "confidence": float(confidence[inside].mean()) if n else None,
                "accuracy": float(right[inside].mean()) if n else None,
            }
        )
    return rows
