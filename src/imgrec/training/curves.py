"""Write every logged number of a run to curves.csv, one per row: step, epoch, split, metric, value."""

import csv
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from imgrec import disk, runfolder
from imgrec.curve_file import CURVE_COLUMNS, checked_row, read_curves
from imgrec.errors import RunError
from imgrec.text_files import write_text

log = logging.getLogger(__name__)


class Curves(Logger):
    """A Lightning logger that appends rows to a CSV file.

    A name `val/top1` is split `val`, metric `top1`; names without a split (`lr`) belong to `train`.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._folder: os.stat_result | None = None  # identifies the run's own folder, as another may replace it
        self._held: IO[bytes] | None = None  # the open file, whose rows stay readable when it is removed
        self.rows = 0  # in the file

    @property
    def path(self) -> Path:
        return self._path

    @property
    def name(self) -> str:
        return "curves"

    @property
    def version(self) -> str:
        return ""

    def start(self, step: int, *, rows: int = 0) -> int:
        """Begin the file, or continue it after `step`. Later rows are removed, as their steps will be repeated.

        Damaged rows at the end are removed as well.

        Args:
            step: The step that the run continues from.
            rows: The number of rows at that step.

        Returns:
            The number of rows that are missing.

        Raises:
            RunError: A damaged row is followed by a row that is needed.
        """
        kept = _lines_until(self._path, step) if step and os.path.lexists(self._path) else []
        write_text(self._path, "\n".join([",".join(CURVE_COLUMNS), *kept]) + "\n")
        self.rows = len(kept)
        self._hold()
        return max(0, rows - len(kept))

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self._put_back()
        rows = list(_rows(metrics, step))
        try:
            with open(disk.appending(self._path), "a", encoding="utf-8", newline="") as file:  # noqa: PTH123
                csv.writer(file, lineterminator="\n").writerows(rows)
        except OSError as error:
            raise RunError(
                f"{self._path} cannot be written: {error.strerror}; free the disk; the run is left as it is, and the"
                f" same command {runfolder.ahead(self._path.parent)}"
            ) from error
        self.rows += len(rows)

    def sync(self) -> None:
        """Write the rows to the disk, before a checkpoint after which they are not logged again."""
        self._put_back()
        with self._path.open("rb") as file:
            os.fsync(file.fileno())

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close the file."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def _hold(self) -> None:
        self.finalize("")
        self._folder = self._path.parent.stat()
        self._held = self._path.open("rb")

    def _put_back(self) -> None:
        """Write the rows again if the file was removed or replaced during the training.

        Raises:
            RunError: The whole folder was removed or replaced. A checkpoint without the other files would look like a
                run.
        """
        if self._held is None or self._folder is None:
            return
        try:
            if os.path.samestat(self._path.stat(), os.fstat(self._held.fileno())):
                return
        except OSError:
            pass  # the file was removed
        try:
            same = os.path.samestat(self._path.parent.stat(), self._folder)
        except OSError:
            same = False
        if not same:
            raise RunError(
                f"{self._path.parent} must stay while its run trains, and was removed or replaced; put it back before"
                " the same command is started again, or the run begins anew"
            )
        log.warning("%s was removed or replaced while the run trains: its rows are written again", self._path)
        self._held.seek(0)
        write_text(self._path, self._held.read().decode("utf-8"))
        self._hold()

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing, as config.yaml contains them."""


def _lines_until(path: Path, step: int) -> list[str]:
    """Return the lines of the rows up to that step. A crash may have damaged later rows.

    Raises:
        RunError: The file is no such table, or one of the needed rows is damaged.
    """
    try:
        rows = read_curves(path)
    except RunError:
        if (lines := _before_damage(path, step)) is None:
            raise
        log.warning("%s is damaged after its last row up to step %d: cut off there", path, step)
        return lines
    return [",".join(row[column] for column in CURVE_COLUMNS) for row in rows if int(row["step"]) <= step]


def _before_damage(path: Path, step: int) -> list[str] | None:
    """Return the lines of the rows up to that step; None if damage is among them."""
    if not path.is_file():
        return None
    heading, *lines = path.read_bytes().split(b"\n")
    steps = [_step_of(line) for line in lines[:-1]]  # the text after the last line's end is no complete line
    needed = [number for number, at in enumerate(steps) if at is not None and at <= step]
    if heading.decode("utf-8", "replace") != ",".join(CURVE_COLUMNS) or None in steps[: len(needed)]:
        return None
    return [lines[number].decode("utf-8") for number in needed]


def _step_of(line: bytes) -> int | None:
    """Return the step of a row; None for a line that is no row."""
    try:
        (row,) = csv.DictReader([line.decode("utf-8")], CURVE_COLUMNS)
        return int(checked_row(row)["step"])
    except (TypeError, ValueError, csv.Error):
        return None


def _rows(metrics: dict[str, float], step: int | None) -> Iterator[tuple[int | None, int, str, str, str]]:
    epoch = int(metrics.get("epoch", 0))
    for name, value in metrics.items():
        if name != "epoch":
            split, _, metric = name.rpartition("/")
            yield step, epoch, split or "train", metric, repr(float(value))
