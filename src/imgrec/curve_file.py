"""Read curves.csv: every logged number of a run, one a row. Imports no torch."""

import csv
from pathlib import Path

from imgrec import disk, text_files, value_checks
from imgrec.errors import RunError, StrPath

NAME = "curves.csv"  # in a run's folder
DEVICE = "device"  # stands in the place of a split for what is measured of the machine, which differs between runs
CURVE_COLUMNS = ("step", "epoch", "split", "metric", "value")
_MOST = 2**31  # most bytes of a curves.csv
_TAIL = 4096  # bytes at its end that contain the newest numbers


def read_curves(path: StrPath) -> list[dict[str, str]]:
    """Return the rows of a curves.csv, with all values as text. An incomplete last line, left by a crash, is ignored.

    Raises:
        RunError: The file is no such table.
    """
    path = Path(path)
    try:
        text = disk.content(path, most=_MOST).decode("utf-8")
        rows = csv.DictReader([line for line in text.splitlines(keepends=True) if line.endswith("\n")])
        if tuple(rows.fieldnames or ()) != CURVE_COLUMNS:
            raise ValueError(f"its columns are {value_checks.brief(', '.join(rows.fieldnames or ()))}")
        return [checked_row(row) for row in rows]
    except (*text_files.UNREADABLE, csv.Error) as error:  # UnicodeDecodeError is a ValueError
        raise RunError(
            f"{path} must be a table of {', '.join(CURVE_COLUMNS)}, and cannot be read: {text_files.reason(error)};"
            " restore it, or remove it, and a run goes on without its rows"
        ) from error


def checked_row(row: dict[str, str]) -> dict[str, str]:
    """Return the row of curves.csv if it is valid.

    Raises:
        TypeError: A value is no text.
        ValueError: A number is missing, or a value would not stay on its line.
    """
    if tuple(row) != CURVE_COLUMNS:
        raise ValueError(f"a row of {len(row)} columns")
    for key, value in row.items():
        if not value_checks.name(value, key) or set(value) & set(" ,\"'"):
            raise ValueError(f"{key} must be a word or a number, got {value_checks.brief(value)}")
    value_checks.integer(int(row["step"]), "step")
    value_checks.integer(int(row["epoch"]), "epoch")
    float(row["value"])
    return row


def newest_rows(folder: Path) -> list[list[str]]:
    """Return the last complete rows of a run's curves, which another process may be writing; none if there are none."""
    path = folder / NAME
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            text = file.read().decode("utf-8", "replace")
    except OSError:  # the file does not exist, or is being replaced
        return []
    lines = text.split("\n")[1:-1]  # the first and the last line may be incomplete
    return [row for row in csv.reader(lines) if len(row) == 5]
