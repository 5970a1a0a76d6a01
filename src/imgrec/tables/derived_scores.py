"""Compute scores that records do not contain from the predictions that runs kept. Imports no torch."""

from collections.abc import Collection, Sequence

from imgrec.records import Score
from imgrec.statistics import Calibration, calibration
from imgrec.tables.correctness import Reader
from imgrec.tables.gather import Run

OF = {
    "ece_debiased": "ece",
    "ece_perfect": "ece",
    "ece_calibrated_debiased": "ece_calibrated",
    "ece_calibrated_perfect": "ece_calibrated",
}
"""For each derived score, the recorded score that it is derived beside."""


def add(runs: Sequence[Run], metrics: Collection[str], reader: Reader) -> None:
    """Add the derived ones of the metrics to the records of the runs that kept predictions."""
    for run in runs:
        run.record.scores += [
            found
            for score in run.record.scores
            for metric in metrics
            if OF.get(metric) == score.metric and (found := _derived(run, score, metric, reader)) is not None
        ]


def perfect(run: Run, score: Score, base: str, reader: Reader) -> float | None:
    """Return the calibration error that a perfectly calibrated network with the run's confidences would show.

    Args:
        run: The run.
        score: The score whose images are meant.
        base: `ece`, or `ece_calibrated` for the confidences after temperature scaling.
        reader: Reads predictions.

    Returns:
        A fraction; None where the confidences were not kept.
    """
    found = _calibration(run, score, base, reader)
    return None if found is None else found.perfect


def _derived(run: Run, score: Score, metric: str, reader: Reader) -> Score | None:
    found = _calibration(run, score, score.metric, reader)
    if found is None:
        return None
    value = found.debiased if metric.endswith("debiased") else found.perfect
    return Score(
        split=score.split,
        protocol=score.protocol,
        metric=metric,
        value=value,
        n=score.n,
        at=score.at,
        settings=score.settings,
    )


def _calibration(run: Run, score: Score, base: str, reader: Reader) -> Calibration | None:
    kept = reader.of(run, score)
    if kept is None or not len(kept.targets_n):
        return None
    sure_n = kept.calibrated_n if base == "ece_calibrated" else kept.confidence_n
    return None if sure_n is None else calibration(sure_n, kept.correct_n)
