"""Tell at which epoch, the best or the last, a table's scores were measured. Imports no torch."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from imgrec.tables import measured, run_score
from imgrec.tables.column import Column
from imgrec.tables.gather import Run
from imgrec.tables.table import Row, Table

_BEST, _LAST = "the epoch with the best validation top1", "the last epoch"


def line(table: Table) -> str:
    """Return in words at which epoch the scores were measured: for each column, where columns differ."""
    columns: dict[str, list[str]] = {}
    for column in table.columns:
        columns.setdefault(_epoch(table, column), []).append(column.label)
    if len(columns) == 1:
        return f" at {next(iter(columns))}"
    told = [f"{' and '.join(labels)} at {epoch}" for epoch, labels in columns.items()]
    return f": {'; '.join(told)}"


def tell(table: Table) -> None:
    """Note what a reader must know of the epochs.

    Validation scores of the best epoch are told of, and scores from the last epoch where others of the column, or of
    other settings, are from the best: scores of different epochs do not compare.
    """
    if any(column.split == "val" and "best" in row.cells[k].places for k, column, row in _cells(table)):
        table.notes.append(
            "The best epoch was chosen on these very validation images, so its validation scores are too high; those"
            " of --at last and of the test set are not."
        )
    for column in table.columns:
        runs = [run for row in table.rows for run in row.runs]
        at_best, from_last = (_at(runs, column, table.at, place) for place in ("best", "last"))
        others = _others_at_best(from_last, column)
        if table.at == "last" or not from_last or not (at_best or others):
            continue
        names = []
        for row in table.rows:
            if own := _at(row.runs, column, table.at, "last"):
                whole = not _at(row.runs, column, table.at, "best")
                seeds = ",".join(str(run.seed) for run in own)
                names.append(f"{table.name_of(row.setting)}{'' if whole else f' seed={seeds}'}")
        told = f"{column.label} is from the last epoch, as it has none at the best: {'; '.join(names)}"
        if at_best and all(measured.scores(run, column, "last") for run in at_best):
            told += "; --at last shows all at the last epoch"
        if others:
            ways = [f"--protocol {shlex.quote(f'{column.protocol}:{other}')}" for other in others]
            told += f"; the best epoch was measured with other settings: {', '.join(ways)}"
        table.notes.append(told)


def _cells(table: Table) -> Iterator[tuple[int, Column, Row]]:
    return ((k, column, row) for k, column in enumerate(table.columns) for row in table.rows)


def lost_best(run: Run) -> dict[str, Any] | None:
    """Return what the run's record says of a lost best checkpoint (epoch, top1, reason); None if none was lost."""
    lost = run.record.progress.get("best_lost")
    return lost if isinstance(lost, dict) else None


def _epoch(table: Table, column: Column) -> str:
    if table.at == "last":
        return _LAST
    runs = [run for row in table.rows for run in row.runs]
    at_best, from_last = (_at(runs, column, table.at, place) for place in ("best", "last"))
    if at_best or not from_last:
        return f"{_BEST}, else the last" if from_last else _BEST
    why = "there is no validation"
    if any(lost_best(run) for run in from_last):
        why = "best.ckpt was lost"
    elif any(score.at == "best" for run in from_last for score in run.record.scores):
        why = "the best was not measured so"
    return f"{_LAST} ({why})"


def _at(runs: Sequence[Run], column: Column, at: str, place: str) -> list[Run]:
    """Return the runs whose score of the column was measured at this place."""
    return [run for run in runs if run_score.place_of(run, column, at) == place]


def _others_at_best(runs: Sequence[Run], column: Column) -> list[str]:
    """Return the settings, other than those that the column demands, with which runs were measured at the best."""
    found: dict[str, None] = {}
    for run in runs if column.settings else []:
        ours = [measured.settings_of(run, score) for score in measured.scores(run, column, "last")]
        for score in measured.scores(run, replace(column, settings=()), "best"):
            found[":".join(measured.words(measured.settings_of(run, score), ours))] = None
    return list(found)
