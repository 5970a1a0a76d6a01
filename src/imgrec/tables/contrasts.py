"""Compute the contrasts that a study declared before it ran, or that a table is asked for. Imports no torch."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from imgrec import statistics
from imgrec.config import primary
from imgrec.config.primary import Primary
from imgrec.errors import UsageError
from imgrec.tables import comparable, compare, factor_words, factors, folds, run_score
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
        there: Both sides under the second condition, for a contrast with conditions.
        found: The comparison; None if there is none.
        p: Over seeds, Holm-corrected over all outcomes of the study, with those that the table leaves out.
        p_over_both: Over new images, corrected in the same way.
        missing: Why there is no comparison, in words.
        is_shown: True if the score is a column of the table.
        is_asked: True if the table was asked for it, and False if the study declared it.
    """

    declared: Primary
    column: Column
    at: str
    ours: Side | None = None
    theirs: Side | None = None
    there: tuple[Side, ...] = ()
    found: Compared | None = None
    p: float | None = None
    p_over_both: float | None = None
    missing: str = ""
    is_shown: bool = True
    is_asked: bool = False


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
    return _corrected([*outcomes, *left_out])[: len(outcomes)], len(left_out)


def asked(table: Table, contrasts: Sequence[str], reader: Reader) -> list[Outcome]:
    """Return the outcomes of contrasts that the table is asked for, for each of its scores.

    p is corrected over these alone.

    Raises:
        UsageError: A contrast has another form, or no runs.
    """
    outcomes = []
    for words in contrasts:
        for column in table.columns:
            if column.is_reference:
                continue
            try:
                each = primary.parse(f"{column.metric} at {table.at}: {words}")
            except UsageError as error:
                raise UsageError(
                    "--contrast must be KEY=VALUE vs KEY=VALUE [under KEY=VALUE vs KEY=VALUE], each time with other"
                    f" values of the same keys, got {words!r}; such as 'optimizer=adam vs optimizer=sgd'"
                ) from error
            (each,) = _in_full([each], table.factors.parents)
            found = _outcomes_of(table, each, reader, column)
            if found[0].ours is None:
                raise UsageError(f"--contrast {words!r} must be of settings of the table: {found[0].missing}")
            outcomes += [dataclasses.replace(one, is_asked=True) for one in found]
    return _corrected(outcomes)


def _corrected(counted: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes with p values that are corrected over all of them."""
    ps = statistics.holm([each.found.seeds.shown.p if each.found else None for each in counted])
    over_both = [each.found.both.p if each.found and each.found.both else None for each in counted]
    return [
        dataclasses.replace(each, p=p, p_over_both=p_over_both)
        for each, p, p_over_both in zip(counted, ps, statistics.holm(over_both), strict=True)
    ]


def _in_full(contrasts: Sequence[Primary], parents: Mapping[str, str]) -> list[Primary]:
    """Return the contrasts with the full names of parents that they name as a table of the study shows them."""
    names = {brief: name for name, brief in parents.items()}

    def side(pairs: Mapping[str, str]) -> dict[str, str]:
        return {
            key: names.get(value, value) if key == PARENT and value not in parents else value
            for key, value in pairs.items()
        }

    return [
        dataclasses.replace(
            each, ours=side(each.ours), theirs=side(each.theirs), here=side(each.here), there=side(each.there)
        )
        for each in contrasts
    ]


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

    sides = ((outcome.ours, other.ours), (outcome.theirs, other.theirs), *zip(outcome.there, other.there, strict=False))
    return outcome.declared == other.declared and all(
        runs(one) and runs(one) <= runs(another) for one, another in sides
    )


def _outcomes_of(table: Table, each: Primary, reader: Reader, column: Column) -> list[Outcome]:
    at = each.at or table.at
    shown = next((one for one in table.columns if _has_same_scores(table, one, column, at)), None)
    column = shown or column
    nothing = Outcome(declared=each, column=column, at=at, is_shown=shown is not None)
    outcomes = []
    for rows in _settings(table, each):
        sides = [Side(row=row, cell=folds.cell(row, column, at, reader)) for row in rows]
        found, missing = _compared(sides, column)
        outcomes.append(
            dataclasses.replace(
                nothing, ours=sides[0], theirs=sides[1], there=tuple(sides[2:]), found=found, missing=missing
            )
        )
    return outcomes or [dataclasses.replace(nothing, missing=_why_none(table, each))]


def _compared(sides: Sequence[Side], column: Column) -> tuple[Compared | None, str]:
    """Return the comparison of two sides, or of two under two conditions; why there is none, in words."""
    cells = [side.cell for side in sides]
    two = len(cells) == 2
    found = compare.cells(cells[0], cells[1], column) if two else compare.interaction(cells, column)
    if found is None:
        return None, f"one of {'both' if two else 'the four'} has no score"
    pairs = [(sides[0], sides[1]), *([(sides[2], sides[3])] if len(sides) == 4 else [])]
    if not all(comparable.is_comparable(one.row, other.row, column) for one, other in pairs):
        return None, "they do not measure the same"
    if not all(comparable.is_of_one_kind(sides[0].row, other.row, column) for other in sides[2:]):
        return None, "their scores do not measure the same under both conditions"
    if not all(comparable.is_at_one_place(cells[0], cell) for cell in cells):
        return None, "their scores are of different epochs (the best and the last)"
    return found, ""


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
    for key, values in ((key, (one[key], other[key])) for one, other in each.pairs for key in one):
        absent = [value for value in values if not any(factor_words.matches(run, full(key), [value]) for run in runs)]
        if absent:
            owns = dict.fromkeys(factors.text(factors.value_of(run.record, full(key))) for run in runs)
            shown = table.factors.parents if key == PARENT else {}
            there = dict.fromkeys(shown.get(own, own) for own in owns)
            known = ", ".join(sorted(there, key=lambda value: factors.order((value,))))
            told.append(f"no run here has {' or '.join(f'{key}={value}' for value in absent)}; there is {known}")
    if told:
        return ", and ".join(told)
    for side in _corners(each):
        if not any(_has(row, side) for row in table.rows):
            return f"no run here has {' and '.join(f'{key}={value}' for key, value in side.items())} at once"
    return f"there are no runs of {'all four' if each.here else 'both'} that are alike otherwise"


def _has(row: Row, side: Mapping[str, str]) -> bool:
    return all(factor_words.matches(row.runs[0], full(key), [value]) for key, value in side.items())


def _corners(each: Primary) -> list[Mapping[str, str]]:
    """Return what the two settings have, or the four that two conditions make of them."""
    conditions = [each.here, each.there] if each.here else [{}]
    return [{**side, **condition} for condition in conditions for side in (each.ours, each.theirs)]


def _settings(table: Table, each: Primary) -> list[tuple[Row, ...]]:
    """Return the pairs of settings that a contrast is about, or both pairs of one with conditions."""
    corners, keys = _corners(each), [full(key) for key in each.ours]
    here = _pairs(table, corners[0], corners[1], keys)
    if len(corners) == 2:
        return list(here)
    there, under = _pairs(table, corners[2], corners[3], keys), [full(key) for key in each.here]
    return [
        (*pair, *other)
        for pair in here
        for other in there
        if all(
            compare.partners(table, row, [pair[side] for pair in there], under, strictly=True) == [other[side]]
            for side, row in enumerate(pair)
        )
    ]


def _pairs(
    table: Table, one: Mapping[str, str], other: Mapping[str, str], keys: Sequence[str]
) -> list[tuple[Row, Row]]:
    """Return the pairs of settings that have these values and are alike in all but these keys.

    A setting that only one of both choices has may differ, where it leaves no choice of the other setting.
    """
    ours, theirs = ([row for row in table.rows if _has(row, side)] for side in (one, other))
    found = {id(row): compare.partners(table, row, theirs, keys, strictly=True) for row in ours}
    found |= {id(row): compare.partners(table, row, ours, keys, strictly=True) for row in theirs}
    return [(row, other) for row in ours for other in theirs if found[id(row)] == [other] or found[id(other)] == [row]]
