"""curves.csv: every logged number of a run, one a row: step, epoch, split, metric, value."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from imgrec import disk
from imgrec.errors import RunError
from imgrec.records import CURVE_COLUMNS, read_curves, write_text


class Curves(Logger):
    """A Lightning logger that appends rows to a CSV file.

    A name `val/top1` is split `val`, metric `top1`; names without a split (`lr`) belong to `train`.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    @property
    def name(self) -> str:
        return "curves"

    @property
    def version(self) -> str:
        return ""

    def start(self, step: int) -> None:
        """Begin, or go on after `step`: rows beyond it belong to steps that will be taken again."""
        rows = [row for row in read_curves(self._path) if int(row["step"]) <= step] if self._path.exists() else []
        lines = [",".join(CURVE_COLUMNS), *(",".join(row[column] for column in CURVE_COLUMNS) for row in rows)]
        write_text(self._path, "\n".join(lines) + "\n")

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        try:
            with open(disk.appending(self._path), "a", encoding="utf-8", newline="") as file:  # noqa: PTH123
                csv.writer(file, lineterminator="\n").writerows(_rows(metrics, step))
        except OSError as error:
            raise RunError(
                f"{self._path} cannot be written: {error.strerror}; free the disk and start the same command again: it"
                " goes on from its last checkpoint"
            ) from error

    def sync(self) -> None:
        """See that the rows are on the disk, before a checkpoint after which they are not logged again."""
        with self._path.open("rb") as file:
            os.fsync(file.fileno())

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: config.yaml holds them."""


def _rows(metrics: dict[str, float], step: int | None) -> Iterator[tuple[int | None, int, str, str, str]]:
    epoch = int(metrics.get("epoch", 0))
    for name, value in metrics.items():
        if name != "epoch":
            split, _, metric = name.rpartition("/")
            yield step, epoch, split or "train", metric, repr(float(value))
