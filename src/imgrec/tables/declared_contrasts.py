"""Compute the results of the contrasts that a study declared before it ran. Imports no torch."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from imgrec import statistics
from imgrec.config import primary
from imgrec.config.primary import Primary
from imgrec.errors import UsageError
from imgrec.tables import compare, factor_words, factors, folds, run_score
from imgrec.tables.column import Column
from imgrec.tables.compare import Compared
from imgrec.tables.correctness import Reader
from imgrec.tables.factors import PARENT, full
from imgrec.tables.gather import Run
from imgrec.tables.table import Cell, Row, Table


@dataclass(frozen=True, kw_only=True)
class Side:
    """A setting, and its score where the contrast is measured."""

    row: Row
    cell: Cell


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a declared contrast for one pair of settings.

    Attributes:
        declared: The declaration.
        column: The score.
        at: The epoch's place: best or last.
        ours: The one side.
        theirs: The other side.
        found: The comparison; None if there is none.
        p: Over seeds, Holm-corrected over all outcomes of the study, with those that the table leaves out.
        p_over_both: Over new images, corrected in the same way.
        missing: Why there is no comparison, in words.
        is_shown: True if the score is a column of the table.
    """

    declared: Primary
    column: Column
    at: str
    ours: Side | None = None
    theirs: Side | None = None
    found: Compared | None = None
    p: float | None = None
    p_over_both: float | None = None
    missing: str = ""
    is_shown: bool = True


def declared(runs: Sequence[Run]) -> list[Primary]:
    """Return the contrasts that the runs' studies declared, each once.

    A declaration that cannot be parsed is left out, as another version may have written it in another form.
    """
    words = dict.fromkeys(
        word for run in runs for word in run.record.config.get("primary") or () if isinstance(word, str)
    )
    found = []
    for word in words:
        try:
            found.append(primary.parse(word))
        except UsageError:
            continue
    return found


def of(
    table: Table,
    contrasts: Sequence[Primary],
    reader: Reader,
    column_of: Callable[[str], Column],
    whole: Table | None = None,
) -> tuple[list[Outcome], int]:
    """Return the outcome of each declared contrast, once for each combination of the other factors.

    Args:
        table: The table.
        contrasts: The declared contrasts.
        reader: Reads predictions.
        column_of: Returns the column that a declared score means.
        whole: The table of all runs of the study, where this table leaves out some.

    Returns:
        The outcomes, and the number of pairs with an outcome that the table leaves out; p is corrected over these, too.
    """
    parents = (whole or table).factors.parents
    outcomes = _outcomes(table, _in_full(contrasts, parents), reader, column_of)
    left_out = []
    if whole is not None:
        study = declared([run for row in whole.rows for run in row.runs])
        every = _outcomes(whole, _in_full(study, parents), reader, column_of)
        left_out = [each for each in every if each.found and not any(_is_part(one, each) for one in outcomes)]
    counted = [*outcomes, *left_out]
    ps = statistics.holm([each.found.seeds.shown.p if each.found else None for each in counted])
    over_both = [each.found.both.p if each.found and each.found.both else None for each in counted]
    corrected = [
        dataclasses.replace(each, p=p, p_over_both=p_over_both)
        for each, p, p_over_both in zip(counted, ps, statistics.holm(over_both), strict=True)
    ]
    return corrected[: len(outcomes)], len(left_out)


def _in_full(contrasts: Sequence[Primary], parents: Mapping[str, str]) -> list[Primary]:
    """Return the contrasts with the full names of parents that they name as a table of the study shows them."""
    names = {brief: name for name, brief in parents.items()}

    def side(pairs: Mapping[str, str]) -> dict[str, str]:
        return {
            key: names.get(value, value) if key == PARENT and value not in parents else value
            for key, value in pairs.items()
        }

    return [dataclasses.replace(each, ours=side(each.ours), theirs=side(each.theirs)) for each in contrasts]


def _outcomes(
    table: Table, contrasts: Sequence[Primary], reader: Reader, column_of: Callable[[str], Column]
) -> list[Outcome]:
    return [
        outcome
        for each in contrasts
        if each.ours
        for outcome in _outcomes_of(table, each, reader, column_of(each.metric))
    ]


def _is_part(outcome: Outcome, other: Outcome) -> bool:
    """Return True if all runs of an outcome belong to the other outcome's pair."""

    def runs(side: Side | None) -> set[str]:
        return {str(run.path) for run in side.row.runs} if side else set()

    sides = ((outcome.ours, other.ours), (outcome.theirs, other.theirs))
    return outcome.declared == other.declared and all(
        runs(one) and runs(one) <= runs(another) for one, another in sides
    )


def _outcomes_of(table: Table, each: Primary, reader: Reader, column: Column) -> list[Outcome]:
    at = each.at or table.at
    shown = next((one for one in table.columns if _has_same_scores(table, one, column, at)), None)
    column = shown or column
    nothing = Outcome(declared=each, column=column, at=at, is_shown=shown is not None)
    outcomes = []
    for row, other in _pairs(table, each):
        ours, theirs = (Side(row=one, cell=folds.cell(one, column, at, reader)) for one in (row, other))
        found = compare.cells(ours.cell, theirs.cell, column)
        missing = "" if found else "one of both has no score"
        if found and not compare.is_comparable(row, other, column):
            found, missing = None, "they do not measure the same"
        if found and not compare.is_at_one_place(ours.cell, theirs.cell):
            found, missing = None, "their scores are of different epochs (the best and the last)"
        outcomes.append(dataclasses.replace(nothing, ours=ours, theirs=theirs, found=found, missing=missing))
    return outcomes or [dataclasses.replace(nothing, missing=_why_none(table, each))]


def _has_same_scores(table: Table, shown: Column, column: Column, at: str) -> bool:
    """Return True if a column of the table shows the scores that another column has at a place.

    Neither a name for print nor demanded settings matter where they choose the same scores.
    """
    keys = [(each.metric, each.split, each.protocol) for each in (shown, column)]
    return keys[0] == keys[1] and all(
        run_score.found(run, shown, table.at) == run_score.found(run, column, at)
        for row in table.rows
        for run in row.runs
    )


def _why_none(table: Table, each: Primary) -> str:
    """Return in words why no pair of settings is the contrast's: values that no run has, and those that there are."""
    told = []
    runs = [run for row in table.rows for run in row.runs]
    for key in each.ours:
        values = (each.ours[key], each.theirs[key])
        absent = [value for value in values if not any(factor_words.matches(run, full(key), [value]) for run in runs)]
        if absent:
            owns = dict.fromkeys(factors.text(factors.value_of(run.record, full(key))) for run in runs)
            shown = table.factors.parents if key == PARENT else {}
            there = dict.fromkeys(shown.get(own, own) for own in owns)
            known = ", ".join(sorted(there, key=lambda value: factors.order((value,))))
            told.append(f"no run here has {' or '.join(f'{key}={value}' for value in absent)}; there is {known}")
    if told:
        return ", and ".join(told)
    for side in (each.ours, each.theirs):
        if not any(_has(row, side) for row in table.rows):
            return f"no run here has {' and '.join(f'{key}={value}' for key, value in side.items())} at once"
    return "there are no runs of both that are alike otherwise"


def _has(row: Row, side: Mapping[str, str]) -> bool:
    return all(factor_words.matches(row.runs[0], full(key), [value]) for key, value in side.items())


def _pairs(table: Table, each: Primary) -> list[tuple[Row, Row]]:
    """Return the pairs of settings that a contrast is about: those that are alike in all but its keys.

    A setting that only one of both choices has may differ, where it leaves no choice of the other setting.
    """
    keys = [full(key) for key in each.ours]
    ours, theirs = ([row for row in table.rows if _has(row, side)] for side in (each.ours, each.theirs))
    found = {id(row): compare.partners(table, row, theirs, keys, strictly=True) for row in ours}
    found |= {id(row): compare.partners(table, row, ours, keys, strictly=True) for row in theirs}
    return [(row, other) for row in ours for other in theirs if found[id(row)] == [other] or found[id(other)] == [row]]
