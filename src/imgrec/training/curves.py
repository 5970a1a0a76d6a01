"""curves.csv: every logged number of a run, one a row: step, epoch, split, metric, value."""

import csv
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from imgrec import disk
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
        self._folder: os.stat_result | None = None  # the run's own, to be told from one that takes its place
        self._held: IO[bytes] | None = None  # the file as it was begun: its rows stay readable when it is removed
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
        """Begin, or go on after `step`: rows beyond it belong to steps that will be taken again.

        rows: how many there were at that step. Returns how many of them are lacking. Raises RunError for a damaged row
        with one of these steps behind it; damaged ones at the end are cut off.
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
                f"{self._path} cannot be written: {error.strerror}; free the disk and start the same command again: it"
                " goes on from its last checkpoint"
            ) from error
        self.rows += len(rows)

    def sync(self) -> None:
        """See that the rows are on the disk, before a checkpoint after which they are not logged again."""
        self._put_back()
        with self._path.open("rb") as file:
            os.fsync(file.fileno())

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Let go of the file."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def _hold(self) -> None:
        self.finalize("")
        self._folder = self._path.parent.stat()
        self._held = self._path.open("rb")

    def _put_back(self) -> None:
        """Write the rows again where somebody has removed or replaced the file while the run trains.

        Raises RunError where the whole folder is gone, or another one has taken its place: a checkpoint without the
        rest of the run would pass for a run.
        """
        if self._held is None or self._folder is None:
            return
        try:
            if os.path.samestat(self._path.stat(), os.fstat(self._held.fileno())):
                return
        except OSError:
            pass  # it is gone
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
        """Nothing: config.yaml holds them."""


def _lines_until(path: Path, step: int) -> list[str]:
    """The lines of the rows up to that step. A crash may have cut off the last one, or damaged what came later.

    Raises RunError for a file that is no such table, and for a damaged row among those that are needed.
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
    """The lines of the rows up to that step, where all damage lies behind them; None where it does not."""
    if not path.is_file():
        return None
    heading, *lines = path.read_bytes().split(b"\n")
    steps = [_step_of(line) for line in lines[:-1]]  # what follows the last line's end is no whole line
    needed = [number for number, at in enumerate(steps) if at is not None and at <= step]
    if heading.decode("utf-8", "replace") != ",".join(CURVE_COLUMNS) or None in steps[: len(needed)]:
        return None
    return [lines[number].decode("utf-8") for number in needed]


def _step_of(line: bytes) -> int | None:
    """The step of a row; None for a line that is none."""
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
