"""Read what `imgrec evaluate` writes: later measurements of a run. Imports no torch."""

from dataclasses import dataclass
from pathlib import Path

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
    """

    run_id: str
    fingerprint: str | None
    weights: str | None
    scores: list[Score]
    predictions: dict[str, str]


def read(path: Path) -> Evaluation:
    """Read a measurement.

    Raises:
        RunError: The file is no measurement.
    """
    try:
        rows = value_checks.mapping(text_files.read_json(path), "a measurement")
        images = value_checks.mapping(rows.get("settings", {}), "settings").get("data")
        known = None if images is None else value_checks.text(images, "settings' data")
        return Evaluation(
            run_id=value_checks.text(rows["run_id"], "run_id"),
            fingerprint=known,
            weights=None if rows.get("weights") is None else value_checks.name(rows["weights"], "weights"),
            scores=records.scores_of(rows["scores"]),
            predictions=records.digests_by_place(rows.get("predictions", {}), "predictions"),
        )
    except text_files.UNREADABLE as error:
        raise RunError(
            f"{path} must be a measurement that imgrec wrote, got {text_files.reason(error)}; measure again"
        ) from error
