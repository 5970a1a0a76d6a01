"""Read what `imgrec evaluate` writes, later measurements of a run, and judge what counts of it. Imports no torch."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgrec import records, text_files, value_checks
from imgrec.config.identity import SHORT
from imgrec.errors import RunError, shown
from imgrec.records import Record, Score


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A later measurement of a run.

    Attributes:
        fingerprint: The fingerprint of the images, where it is known.
        weights: The digest of the measured weights, as in a `Record`; None where the file has none.
        predictions: As in `Record`.
        device: The name of the device that measured; None where the file names none.
    """

    run_id: str
    fingerprint: str | None
    weights: str | None
    scores: list[Score]
    predictions: dict[str, str]
    device: str | None = None


def read(path: Path) -> Evaluation:
    """Read a measurement.

    Raises:
        RunError: The file is no measurement.
    """
    try:
        rows = value_checks.mapping(text_files.read_json(path), "a measurement")
        images = value_checks.mapping(rows.get("settings", {}), "settings").get("data")
        device = value_checks.mapping(rows.get("environment", {}), "environment").get("device")
        known = None if images is None else value_checks.text(images, "settings' data")
        return Evaluation(
            run_id=value_checks.text(rows["run_id"], "run_id"),
            fingerprint=known,
            weights=None if rows.get("weights") is None else value_checks.name(rows["weights"], "weights"),
            scores=records.scores_of(rows["scores"]),
            predictions=records.digests_by_place(rows.get("predictions", {}), "predictions"),
            device=None if device is None else value_checks.text(device, "environment's device"),
        )
    except text_files.UNREADABLE as error:
        raise RunError(
            f"{path} must be a measurement that imgrec wrote, got {text_files.reason(error)}; measure again"
        ) from error


def of_run(path: Path, record: Record) -> Evaluation:
    """Read the measurement in a file.

    Raises:
        RunError: It belongs to another run.
    """
    found = read(path)
    if found.run_id != record.run_id:
        raise RunError(
            f"{path} must be a measurement of run {record.run_id[:SHORT]}, and is one of {found.run_id[:SHORT]}; move"
            " it to that run's folder"
        )
    return found


def why_excluded(later: Evaluation, record: Record) -> str:
    """Return why the measurement does not count for the finished run; empty if it counts.

    Older versions named no weights in records and measurements. Such a measurement counts, as nothing is known of its
    weights.
    """
    if later.fingerprint not in (None, record.fingerprint):
        return "it measures other images than the run's own"
    if later.weights is None:
        return ""
    if record.status != "finished":
        return "the run has not finished, and its weights may change"
    if record.weights and any(record.weights.get(score.at) != later.weights for score in later.scores):
        return "it measures other weights than the finished run's, maybe of an earlier epoch (measure again, remove it)"
    return ""


def new_scores(later: Evaluation, record: Record) -> list[Score]:
    """Return the measurement's scores that the record does not have."""
    return [own for own in later.scores if not any(_is_same(score, own) for score in record.scores)]


def differing(later: Evaluation, record: Record, own: Sequence[Score], file: Path) -> list[str]:
    """Return notes on top1 in the measurement's file that does not count, where another one with its settings does."""
    told = []
    for new in later.scores:
        if new.metric != "top1":
            continue
        same = [score for score in record.scores if _is_same(score, new)]
        if same and same[0].value != new.value:
            counts, extra = ("the run's own", shown(file)) if same[0] in own else ("another", "one of them")
            told.append(
                f"{new.split} top1 of {new.protocol} at {new.at} is {new.value:g} in {shown(file)}, and"
                f" {counts} measurement with the same settings counts, {same[0].value:g}; remove {extra}"
            )
    return told


def _is_same(score: Score, other: Score) -> bool:
    """Return True if the two are the same score with the same settings."""
    keys = [(each.split, each.protocol, each.metric, each.at) for each in (score, other)]
    return keys[0] == keys[1] and settings_of(score) == settings_of(other)


def is_counted(later: Evaluation, record: Record, key: str) -> bool:
    """Return True if the measurement's top1 at the key's place is the score that counts for the run."""
    for own in later.scores:
        if own.metric == "top1" and "/".join((own.split, own.protocol, own.at)) == key:
            counts = record.score("top1", split=own.split, at=own.at, protocol=own.protocol)
            return counts is not None and _value_and_basis(counts) == _value_and_basis(own)
    return False


def order(later: Evaluation, record: Record) -> tuple[list[list[str]], bool, str]:
    """Return a sort key: the settings of the measurement's scores, then the device, that of the training first."""
    settings = [[f"{key}={value}" for key, value in sorted(settings_of(score).items())] for score in later.scores[:1]]
    return settings, later.device != record.environment.get("device"), later.device or ""


def _value_and_basis(score: Score) -> tuple[float, int, dict[str, Any]]:
    """Return the value, the number of images and the settings of a score."""
    return score.value, score.n, settings_of(score)


def key_of(score: Score) -> str:
    """Return a text that only this score of a run has."""
    return json.dumps([score.split, score.protocol, score.metric, score.at, settings_of(score)], sort_keys=True)


def settings_of(score: Score) -> dict[str, Any]:
    """Return the settings of a score. Older records do not name a precision; they were measured in float32."""
    return {"precision": "32", **score.settings}
