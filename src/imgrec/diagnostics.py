"""Read and write diagnostics.json: confusion and calibration by place (best, last) and split. Imports no torch.

Up to FULL classes, `confusion` contains the whole matrix, one list per true class. Above, `confusion_sparse` contains
one text per true class with the predicted classes and their counts: "0:48 17:2".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgrec import value_checks
from imgrec.errors import RunError
from imgrec.text_files import read_json, reason

FULL = 100  # classes; the matrix of 1000 takes 8 MB as JSON, nearly all of it zeros
_MOST_CLASSES = 10**5
_MOST = 2**28  # bytes: a full matrix of 1000 classes at two places and splits takes 2**25

Row = dict[int, int]
"""The counts of one true class by predicted class, without zeros."""


@dataclass(frozen=True, kw_only=True)
class Bin:
    """A bin of confidence: the number of its images, their mean confidence and their accuracy."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """The diagnostics of one split at one place.

    Attributes:
        classes: The names of the classes.
        confusion: The counts of each true class.
        accuracy: The accuracy of each class; None for a class without images.
        calibration: The bins that contain images.
    """

    classes: tuple[str, ...]
    confusion: list[Row]
    accuracy: list[float | None]
    calibration: list[Bin]


def confusion(matrix: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Return the matrix, with true classes by row, in the form of the file."""
    if len(matrix) <= FULL:
        return {"confusion": [list(row) for row in matrix]}
    rows = [" ".join(f"{given}:{count}" for given, count in enumerate(row) if count) for row in matrix]
    return {"confusion_sparse": rows}


def matrix(found: dict[str, Any]) -> list[list[int]]:
    """Return the whole matrix of one split at one place, from the form of the file."""
    classes = len(found["classes"])
    return [[row.get(given, 0) for given in range(classes)] for row in _confusion(found, classes)]


def read(path: Path, *, at: str, split: str) -> Diagnostics | None:
    """Return the diagnostics of a split at a place, or at `last` if the place is missing; None if there are none.

    Raises:
        RunError: The file has another form.
    """
    try:
        places = value_checks.mapping(read_json(path, most=_MOST), "diagnostics")
        place = value_checks.mapping(places.get(at, places.get("last", {})), at)
        return None if place.get(split) is None else _typed(value_checks.mapping(place[split], split))
    except (OSError, ValueError, KeyError, RecursionError, MemoryError) as error:
        raise RunError(
            f"{path} must be diagnostics that imgrec wrote, got {reason(error)}; they are not drawn"
        ) from error


def _typed(found: dict[str, Any]) -> Diagnostics:
    classes = [
        value_checks.text(name, "a class")
        for name in value_checks.items(found["classes"], "classes", most=_MOST_CLASSES)
    ]
    if not classes:
        raise ValueError("no classes")
    accuracy: list[float | None] = []
    for row in value_checks.items(found["per_class"], "per_class", length=len(classes)):
        share = value_checks.mapping(row, "a row of per_class")["accuracy"]
        accuracy.append(None if share is None else value_checks.number(share, "accuracy", low=0, high=1))
    rows = [_bin(row) for row in value_checks.items(found["calibration"], "calibration")]
    return Diagnostics(
        classes=tuple(classes),
        confusion=_confusion(found, len(classes)),
        accuracy=accuracy,
        calibration=[row for row in rows if row is not None],
    )


def _confusion(found: dict[str, Any], classes: int) -> list[Row]:
    if "confusion_sparse" in found:
        texts = value_checks.items(found["confusion_sparse"], "confusion_sparse", length=classes)
        return [_row(value_checks.text(text, "a row of confusion_sparse"), classes) for text in texts]
    rows = []
    for row in value_checks.items(found["confusion"], "confusion", length=classes):
        counts = value_checks.items(row, "a row of confusion", length=classes)
        rows.append(
            {given: count for given, count in enumerate(counts) if value_checks.integer(count, "a count of confusion")}
        )
    return rows


def _row(text: str, classes: int) -> Row:
    row: Row = {}
    for pair in text.split():
        given, _, count = pair.partition(":")
        key = value_checks.integer(int(given), "a class of confusion_sparse", high=classes - 1)
        row[key] = value_checks.integer(int(count), "a count of confusion_sparse", low=1)
    return row


def _bin(row: Any) -> Bin | None:
    values = value_checks.mapping(row, "a bin")
    n = value_checks.integer(values["n"], "a bin's n")
    shares = {name: values[name] for name in ("low", "high", *(("confidence", "accuracy") if n else ()))}
    read = {name: value_checks.number(share, f"a bin's {name}", low=0, high=1.0001) for name, share in shares.items()}
    return Bin(n=n, **read) if n else None
