"""Write Lightning's table of what a run logs: a column for each name, a row for each time that something was logged."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only

from imgrec import disk
from imgrec.config.logger import Began, RunLogger, curve_name, score_name
from imgrec.errors import RunError
from imgrec.records import Score
from imgrec.text_files import write_text

_MOST = 2**31  # most bytes of a table
_OF_READING = "final/"  # begins the names of scores, which a repeated final reading writes again


class Table(CSVLogger, RunLogger):
    """The table of a run, which is written at once.

    Args:
        folder: The folder of the table, `metrics.csv`, and of the settings, `hparams.yaml`.
        step: The step that the run continues from. Later rows, of an interrupted run, are removed.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        super().__init__(save_dir=folder.parent, name="", version=folder.name, flush_logs_every_n_steps=1)
        self._step = step

    @property
    @rank_zero_experiment
    def experiment(self) -> "_Writer":
        if self._experiment is None:
            self._experiment = _Writer(Path(self.log_dir), step=self._step)
        return self._experiment  # type: ignore[return-value] # it is one

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:  # type: ignore[override]
        super().log_metrics({curve_name(name): value for name, value in metrics.items()}, step)

    def begin_run(self, run: Began) -> None:
        self.log_hyperparams(dict(run.settings))

    def log_scores(self, scores: Sequence[Score], *, step: int) -> None:
        self.log_metrics({score_name(score): score.value for score in scores}, step=step)

    def sync(self) -> None:
        self.experiment.sync()


class _Writer(ExperimentWriter):
    """Lightning's writer, which continues a table. A crash leaves it whole, but for its last line."""

    def __init__(self, folder: Path, *, step: int) -> None:
        self._path = folder / self.NAME_METRICS_FILE
        super().__init__(log_dir=str(folder))
        columns, rows = _rows_until(self._path, step)
        self.metrics_keys = columns
        if self._path.exists():
            self._rewrite(rows)

    def save(self) -> None:
        if not self.metrics:
            return
        rows: list[dict[str, Any]] = list(self.metrics)
        if self._record_new_keys():
            self._rewrite([*_rows_until(self._path, None)[1], *rows])
        else:
            try:
                with open(disk.appending(self._path), "a", encoding="utf-8", newline="") as file:  # noqa: PTH123
                    csv.DictWriter(file, self.metrics_keys, lineterminator="\n").writerows(rows)
            except OSError as error:
                raise RunError(
                    f"{self._path} cannot be written: {error.strerror}; free the disk, and the same command goes on"
                ) from error
        self.metrics = []

    def sync(self) -> None:
        """Write the rows to the disk."""
        self.save()
        if self._path.exists():
            with self._path.open("rb") as file:
                os.fsync(file.fileno())

    def _rewrite(self, rows: Sequence[Mapping[str, Any]]) -> None:
        text = io.StringIO()
        table = csv.DictWriter(text, self.metrics_keys, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write_text(self._path, text.getvalue())

    def _check_log_dir_exists(self) -> None:
        """Keep the table, which Lightning's writer would remove."""


def _rows_until(path: Path, step: int | None) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns, and the rows up to a step without scores; all rows for None.

    The table ends before the first line that a crash has damaged.
    """
    if not path.exists() or step == 0:
        return [], []
    lines = disk.content(path, most=_MOST).decode("utf-8", "replace").splitlines(keepends=True)
    table = csv.DictReader([line for line in lines if line.endswith("\n")])
    rows: list[dict[str, str]] = []
    for row in table:
        if None in row or None in row.values() or not row.get("step", "").isdecimal():
            break
        if step is None or (int(row["step"]) <= step and not _has_scores(row)):
            rows.append(row)
    return list(table.fieldnames or []), rows


def _has_scores(row: Mapping[str, str]) -> bool:
    return any(value for name, value in row.items() if name.startswith(_OF_READING))
