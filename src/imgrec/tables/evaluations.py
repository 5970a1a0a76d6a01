"""Read what `imgrec evaluate` writes: later measurements of a run. Imports no torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgrec import records, text_files, value_checks
from imgrec.errors import RunError
from imgrec.records import Score


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


def key_of(score: Score) -> str:
    """Return a text that only this score of a run has."""
    return json.dumps([score.split, score.protocol, score.metric, score.at, settings_of(score)], sort_keys=True)


def settings_of(score: Score) -> dict[str, Any]:
    """Return the settings of a score. Older records do not name a precision; they were measured in float32."""
    return {"precision": "32", **score.settings}
