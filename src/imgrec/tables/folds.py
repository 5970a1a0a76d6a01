"""Average a cross-validation's scores over its folds, seed by seed. Imports no torch."""

from collections.abc import Sequence
from dataclasses import replace

from imgrec.config.held_out import FOLD, FOLDS
from imgrec.tables import factors
from imgrec.tables.cells import cell_of
from imgrec.tables.column import Column
from imgrec.tables.correctness import Reader
from imgrec.tables.factors import Factors, Setting
from imgrec.tables.gather import Run
from imgrec.tables.marginal_means import mean_cell
from imgrec.tables.names import Names
from imgrec.tables.table import Cell, Row


def average(
    rows: Sequence[Row], found: Factors, columns: Sequence[Column], names: Names, notes: list[str]
) -> tuple[Factors, list[Row]]:
    """Return the rows averaged over the folds, and the factors without `data.fold`.

    The folds of one seed are no independent repetitions: any two of their networks share training images. So the unit
    is the seed, and its value is the mean over its folds. A seed that lacks a fold has no value, and a note says so.
    Runs without folds stay as they are.

    Args:
        rows: The rows of single settings, of which `data.fold` is a factor.
        found: Their factors.
        columns: The scores.
        names: Names for print.
        notes: A list to which notes are added.
    """
    place = found.keys.index(FOLD)
    left = replace(found, keys=found.keys[:place] + found.keys[place + 1 :])
    groups: dict[Setting, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.setting[:place] + row.setting[place + 1 :], []).append(row)
    averaged = []
    for setting, own in groups.items():
        folds = _folds(own[0].runs[0])
        if not folds:
            averaged.append(replace(own[0], setting=setting))
            continue
        by_fold = {_fold(row.runs[0]): row for row in own}
        seeds = {seed for row in own for seed in (*row.missing, *(run.seed for run in row.runs))}
        name = " ".join(names.words(key, value) for key, value in zip(left.keys, setting, strict=True)) or "the runs"
        cells = []
        for number, column in enumerate(columns):
            parts = [by_fold[fold].cells[number] if fold in by_fold else _NO_RUNS for fold in range(folds)]
            cell, lacking = mean_cell(parts, column)
            cells.append(cell)
            for seed in lacking:
                absent = [str(k) for k, part in enumerate(parts) if all(seed != each for each, _ in part.values)]
                notes.append(
                    f"{column.label}: seed {seed} of {name} is left out, without a value for {FOLD}={','.join(absent)}"
                )
        averaged.append(
            Row(
                setting=setting,
                runs=[run for row in own for run in row.runs],
                cells=cells,
                missing=[seed for row in own for seed in row.missing] + (folds - len(own)) * sorted(seeds),
                levels=folds,
                over=(FOLD,),
            )
        )
    several = sorted({row.levels for row in averaged if row.over})
    notes.append(
        f"Cross-validation: a seed's value is its mean over {' or '.join(map(str, several))} folds, whose networks"
        " share training images. So n counts seeds, and intervals are of new seeds with these folds."
    )
    return left, averaged


def cell(row: Row, column: Column, at: str, reader: Reader) -> Cell:
    """Return another score of a row, averaged over its folds as its own scores are."""
    if FOLD not in row.over:
        return cell_of(row.runs, column, at, reader)
    by_fold = [[run for run in row.runs if _fold(run) == fold] for fold in range(_folds(row.runs[0]))]
    return mean_cell([cell_of(runs, column, at, reader) for runs in by_fold], column)[0]


def tell_of_single(runs: Sequence[Run], notes: list[str]) -> None:
    """Note which fold the runs have, where all have the same one."""
    of = sorted({(_fold(run), _folds(run)) for run in runs if _folds(run)})
    if len(of) == 1:
        ((fold, folds),) = of
        notes.append(f"of one fold alone, {FOLD}={fold} of {FOLDS}={folds}: no cross-validation")


_NO_RUNS = Cell(values={}, summary=None)


def _folds(run: Run) -> int:
    return _number(run, FOLDS)


def _fold(run: Run) -> int:
    return _number(run, FOLD)


def _number(run: Run, key: str) -> int:
    value = factors.value_of(run.record, key)
    return value if isinstance(value, int) else 0  # ABSENT for data that have no such key
