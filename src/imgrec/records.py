"""What a run leaves behind: its record, its scores, its curves. JSON and CSV in and out; imports no torch.

schema 1: tables, reports and later versions read these files, so a field is added, never renamed.
"""

import csv
import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imgrec import disk
from imgrec.errors import RunError, UsageError, shown

SCHEMA = 1
CURVE_COLUMNS = ("step", "epoch", "split", "metric", "value")
STATUSES = ("running", "finished", "failed", "interrupted")


@dataclass(kw_only=True)
class Score:
    """One measured number.

    split: train, val or test. protocol: how it was measured (`clean`, `tta_flip`, ...), with its settings.
    metric: top1, top5, loss, iou, ece, ...; all but loss are fractions in [0, 1].
    n: images. ci: 95 % interval where one is known (Wilson 1927, for proportions). at: `best` or `last`.
    """

    split: str
    protocol: str
    metric: str
    value: float
    n: int
    at: str
    settings: dict[str, Any] = field(default_factory=dict)
    ci: tuple[float, float] | None = None


@dataclass(kw_only=True)
class Record:
    """record.json: what the run was, what came out, what it cost, and on what.

    began, ended: when its first process started and its last one ended, in UTC (ISO 8601); None in older records.
    """

    run_id: str
    status: str
    experiment: str | None
    study: str | None
    command: list[str]
    config: dict[str, Any]
    fingerprint: str
    scores: list[Score] = field(default_factory=list)
    cost: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    progress: dict[str, Any] = field(default_factory=dict)
    deaths: int = 0
    parent: str | None = None
    began: str | None = None
    ended: str | None = None
    error: str | None = None
    schema: int = SCHEMA

    def score(self, metric: str, *, split: str, at: str, protocol: str = "clean") -> Score | None:
        """The score of that name, if it was measured."""
        for score in self.scores:
            if (score.metric, score.split, score.at, score.protocol) == (metric, split, at, protocol):
                return score
        return None


_MAYBE = (str, type(None))
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("run_id", "fingerprint"), (str,)),
    **dict.fromkeys(("experiment", "study", "parent", "began", "ended", "error"), _MAYBE),
    **dict.fromkeys(("config", "cost", "environment", "weights", "progress"), (dict,)),
    "command": (list,),
}


def read(path: Path) -> Record:
    """The record in that file. Raises RunError for a file that is no record of a known schema."""
    try:
        rows = json.loads(path.read_text("utf-8", errors="surrogateescape"))
        schema = rows.pop("schema")
        if schema != SCHEMA:
            raise RunError(f"{path}: schema must be {SCHEMA}, got {schema!r}; read it with the version that wrote it")
        known = {field.name for field in dataclasses.fields(Record)}  # a later version may have added some
        record = Record(
            **{
                **{key: value for key, value in rows.items() if key in known},
                "scores": [score_of(row) for row in rows["scores"]],
            }
        )
        _check(record)
        return record
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise RunError(f"{path} must be a record that imgrec wrote, got {reason}; restore it or start anew") from error


def _check(record: Record) -> None:
    """Raises ValueError for what is JSON, but was not written by `write`."""
    if record.status not in STATUSES:
        raise ValueError(f"status must be one of {', '.join(STATUSES)}, got {record.status!r}")
    for name, kind in _KINDS.items():
        value = getattr(record, name)
        if not isinstance(value, kind):
            raise ValueError(f"{name} must be a {kind[0].__name__}, got {value!r}")
    if not all(isinstance(word, str) for word in record.command):
        raise ValueError(f"command must be words, got {record.command!r}")
    if not isinstance(record.config.get("seed", 0), int):
        raise ValueError(f"config's seed must be an integer, got {record.config['seed']!r}")


def score_of(row: dict[str, Any]) -> Score:
    """The score that JSON holds as this row. Raises KeyError, TypeError or ValueError for another one."""
    value = math.nan if row["value"] is None else float(row["value"])  # JSON has no NaN: see `write_json`
    score = Score(**{**row, "value": value, "ci": tuple(row["ci"]) if row.get("ci") else None})
    if not all(isinstance(name, str) for name in (score.split, score.protocol, score.metric, score.at)):
        raise ValueError(f"a score's split, protocol, metric and at must be texts, got {row!r}")
    return score


def read_curves(path: Path) -> list[dict[str, str]]:
    """The rows of a curves.csv, all values as text. A last line that a crash cut off is left out.

    Raises RunError for a file that is no such table.
    """
    try:
        whole = [line for line in path.read_text("utf-8").splitlines(keepends=True) if line.endswith("\n")]
        rows = csv.DictReader(whole)
        if tuple(rows.fieldnames or ()) != CURVE_COLUMNS:
            raise ValueError(f"its columns are {', '.join(rows.fieldnames or ())}")
        return [_checked(row) for row in rows]
    except (OSError, csv.Error, TypeError, ValueError) as error:  # UnicodeDecodeError is a ValueError
        raise RunError(
            f"{path} must be a table of {', '.join(CURVE_COLUMNS)}, and cannot be read: {error}; restore it, or remove"
            " it, and a run goes on without its rows"
        ) from error


def _checked(row: dict[str, str]) -> dict[str, str]:
    """The row. Raises TypeError or ValueError where it has no numbers."""
    int(row["step"]), int(row["epoch"]), float(row["value"])
    return row


def write(path: Path, record: Record) -> None:
    """Write the record as a whole or not at all."""
    write_json(path, dataclasses.asdict(record))


def write_json(path: Path, rows: Any) -> None:
    """JSON, readable and complete at every moment: a temporary file beside it, fsync, then one rename.

    Numbers that are not finite become null, since JSON has none.
    """
    write_text(path, json.dumps(_finite(rows), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace the file's text in one step. Raises RunError where the disk refuses; the old file stays."""
    try:
        with disk.Partial(path) as new:
            # surrogateescape: a path of the command may hold bytes that are no UTF-8
            new.file.write(text.encode("utf-8", "surrogateescape"))
            new.place()
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}; free the disk or set hydra.run.dir") from error


def hand_out(path: Path, text: str) -> None:
    """Write a result where the command says: a file as a whole, its folder made on the way; a pipe or device as it is.

    Raises UsageError for a folder, RunError where it cannot be written.
    """
    try:
        if path.is_dir():
            raise UsageError(f"{shown(path)} must be a file to write, and is a folder; name a file in it")
        if path.exists() and not path.is_file():
            path.write_text(text, "utf-8", errors="surrogateescape")
            return
        target = path.resolve()  # a link stays one
        target.parent.mkdir(parents=True, exist_ok=True)
        write_text(target, text)
    except (OSError, RunError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        reason = cause.strerror if isinstance(cause, OSError) else error
        raise RunError(f"{shown(path)} cannot be written: {reason}; give another -o, or free the disk") from error


def wilson(share: float, n: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927): share in [0, 1] of n trials."""
    z = 1.959963984540054  # the normal distribution's 97.5 % quantile
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value
