"""Compare two settings of a table, and each setting with its baseline, by their runs. Imports no torch."""

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from imgrec import statistics
from imgrec.config import listed
from imgrec.errors import UsageError
from imgrec.statistics import Both, Contrast
from imgrec.tables import comparable, factors
from imgrec.tables.column import Column
from imgrec.tables.factors import ABSENT, full, short
from imgrec.tables.table import Cell, Row, Table

MayDiffer = Callable[[str, str, str], bool]
"""Whether two rows may have these two values of a key."""
_LISTED = 5  # rows that are named in a note; the rest is counted


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The difference of one cell and another, or how far it depends on a condition.

    Attributes:
        runs: The number of runs of each; of four cells, the smallest number and the largest.
        seeds: The contrast over seeds, on these images.
        both: The contrast over seeds and new images, as shares; None where it is not known.
    """

    runs: tuple[int, int]
    seeds: Contrast
    both: Both | None

    @property
    def turned(self) -> "Compared":
        """The same comparison with both cells exchanged."""
        return Compared(
            runs=(self.runs[1], self.runs[0]), seeds=self.seeds.turned, both=self.both.turned if self.both else None
        )


def cells(cell: Cell, other: Cell, column: Column) -> Compared | None:
    """Return the difference of two cells; None where one of them has no value."""
    found = statistics.contrast(cell.values, other.values, within=column.change_within)
    if found is None:
        return None
    both = None
    if cell.answers and other.answers and cell.answers.images == other.answers.images:
        both = statistics.difference_over_both(cell.answers.matrix, other.answers.matrix, paired=found.is_paired)
    return Compared(runs=(len(cell.values), len(other.values)), seeds=found, both=both)


def interaction(four: Sequence[Cell], column: Column) -> Compared | None:
    """Return how far the difference of two cells depends on a condition; None where a cell has no value.

    Args:
        four: Both cells under the first condition, then both under the second.
        column: The score.
    """
    ours, theirs, ours_there, theirs_there = four
    low, high = column.change_within
    values = (ours.values, theirs.values, ours_there.values, theirs_there.values)
    if (found := statistics.interaction(values, within=(2 * low, 2 * high))) is None:
        return None
    both = None
    one, another, one_there, another_there = (cell.answers for cell in four)
    if (
        one
        and another
        and one_there
        and another_there
        and len({cell.answers and cell.answers.images for cell in four}) == 1
    ):
        both = statistics.interaction_over_both(
            (one.correct, another.correct, one_there.correct, another_there.correct)
        )
    counts = sorted(map(len, values))
    return Compared(runs=(counts[0], counts[-1]), seeds=found, both=both)


def with_baseline(table: Table, baseline: Mapping[str, str]) -> None:
    """Compare each row with its baseline row: one that has the baseline's values and is otherwise the same.

    Raises:
        UsageError: The baseline is no setting of the table.
    """
    if not baseline:
        return
    wanted = _baseline_values(table, baseline)
    fitting = [row for row in table.rows if _has(table, row, wanted)]
    compared: list[Row] = []
    unlike: list[str] = []
    for row in table.rows:
        row.is_baseline = row in fitting
        if row.is_baseline:
            continue
        others = partners(table, row, fitting, wanted)
        name = table.name_of(row.setting)
        if not others:
            base = tuple(wanted.get(key, value) for key, value in zip(table.factors.keys, row.setting, strict=True))
            table.notes.append(f"no run of {table.name_of(base)}, the baseline of {name}")
        elif len(others) > 1:
            table.notes.append(_ambiguous(table, row, others, wanted))
        else:
            (other,) = others
            for column, cell, basis in zip(table.columns, row.cells, other.cells, strict=True):
                same = comparable.is_comparable(row, other, column) and comparable.is_at_one_place(cell, basis)
                if same and (found := cells(cell, basis, column)) is not None:
                    cell.difference, cell.difference_over_both = found.seeds, found.both
            compared.append(row)
            if not any(cell.difference for cell in row.cells):
                table.notes.append(f"no score to compare with its baseline: {name}")
            elif not _agrees(table, row, other, wanted, lambda _, one, another: ABSENT in (one, another)):
                unlike.append(f"{name} with {table.name_of(other.setting)}")
    if unlike:
        more = f"; and {len(unlike) - _LISTED} more" if len(unlike) > _LISTED else ""
        table.notes.append(f"compared although settings of the choice differ too: {'; '.join(unlike[:_LISTED])}{more}")
    _correct(table, compared)
    named = " ".join(table.names.words(full(key), value) for key, value in baseline.items())
    table.notes.append(
        f"Δ: the difference of means to {named}, with its 95 % interval (not corrected). {_rule(compared)}"
    )
    table.notes.append(f"p: two-sided; Holm-corrected over {_counted(table, compared)}.")


def partners(
    table: Table, row: Row, among: Sequence[Row], named: Collection[str], *, strictly: bool = False
) -> list[Row]:
    """Return those of some rows that agree with a row in all factors but the named ones.

    Where none does, a setting of a named choice needs not agree: first only where one of both lacks it (`loss.gamma` of
    `loss=cross_entropy`), then at all.

    Args:
        table: The table.
        row: The row.
        among: The rows to choose from.
        named: The dotted keys in which they may differ.
        strictly: True if a setting that both have must always agree.
    """
    rules: list[MayDiffer] = [
        lambda key, one, another: False,
        lambda key, one, another: _belongs(key, named) and ABSENT in (one, another),
        lambda key, one, another: _belongs(key, named),
    ]
    for may_differ in rules[:2] if strictly else rules:
        if found := [other for other in among if _agrees(table, row, other, named, may_differ)]:
            return found
    return []


def _has(table: Table, row: Row, wanted: Mapping[str, str]) -> bool:
    return all(row.setting[table.factors.keys.index(key)] == value for key, value in wanted.items())


def _agrees(table: Table, row: Row, other: Row, named: Collection[str], may_differ: MayDiffer) -> bool:
    """Return True if two rows agree in the factors that are not named, except where they may differ."""
    values = zip(table.factors.keys, row.setting, other.setting, strict=True)
    return all(key in named or one == another or may_differ(key, one, another) for key, one, another in values)


def _belongs(key: str, named: Collection[str]) -> bool:
    """Return True if the key is a setting of a named choice."""
    return any(_is_choice(choice) and factors.is_setting_of(key, choice) for choice in named)


def _is_choice(key: str) -> bool:
    return key.endswith(".name") or key == listed.LISTS["callback"]


def _ambiguous(table: Table, row: Row, others: Sequence[Row], wanted: Mapping[str, str]) -> str:
    """Return a note that several rows may be the baseline of a row, and how to choose one."""
    first = others[0]
    key, value = next(
        (key, first.setting[place])
        for place, key in enumerate(table.factors.keys)
        if key not in wanted and len({other.setting[place] for other in others}) > 1
    )
    word = shlex.quote(f"{short(key)}={value}")
    names = ", ".join(table.name_of(other.setting) for other in others[:_LISTED])
    more = f" and {len(others) - _LISTED} more" if len(others) > _LISTED else ""
    return (
        f"no baseline of {table.name_of(row.setting)}, as {len(others)} rows fit: {names}{more}; choose with another"
        f" --baseline, such as --baseline {word}"
    )


def _baseline_values(table: Table, baseline: Mapping[str, str]) -> dict[str, str]:
    """Return the baseline's values by their dotted keys.

    Raises:
        UsageError: A key or a value is not in the table.
    """
    wanted = {full(key): value for key, value in baseline.items()}
    for key, value in wanted.items():
        if key not in table.factors.keys:
            varied = ", ".join(map(short, table.factors.keys))
            there = f"which are {varied}" if varied else "and its runs differ in their seeds alone; leave it out"
            raise UsageError(f"--baseline {short(key)}={value} must name a factor of the table, {there}")
    for key, value in wanted.items():
        place = table.factors.keys.index(key)
        known = sorted({row.setting[place] for row in table.rows}, key=lambda text: factors.order((text,)))
        if value not in known:
            raise UsageError(f"--baseline {short(key)}={value} must be a setting of the table: {', '.join(known)}")
    return wanted


def _correct(table: Table, compared: Sequence[Row]) -> None:
    """Correct the p values of each column for multiple comparisons."""
    for number in range(len(table.columns)):
        own = [row.cells[number] for row in compared]
        ps = statistics.holm([cell.difference.shown.p if cell.difference else None for cell in own])
        over_both = [cell.difference_over_both.p if cell.difference_over_both else None for cell in own]
        for cell, p, p_over_both in zip(own, ps, statistics.holm(over_both), strict=True):
            cell.p, cell.p_over_both = p, p_over_both


def _rule(compared: Sequence[Row]) -> str:
    """Return in words by which tests the rows were compared, and the correlations over seeds where pairs were used."""
    found = [cell.difference for row in compared for cell in row.cells if cell.difference]
    tests = []
    if pairs := [each for each in found if each.is_paired]:
        known = sorted(each.correlation for each in pairs if each.correlation is not None)
        span = dict.fromkeys(f"{end:.2f}" for end in (known[0], known[-1])) if known else {}
        seen = f"; correlation over seeds {' to '.join(span)}" if span else ""
        tests.append(f"paired by seed where both have the same seeds (t test{seen})")
    if len(pairs) < len(found):
        tests.append("else of all runs (Welch's t test)" if pairs else "of all runs, as seeds differ (Welch's t test)")
    if any(
        cell.difference_over_both and not cell.difference_over_both.of_runs for row in compared for cell in row.cells
    ):
        tests.append("run against run over new images (McNemar's mid-p)")
    said = ", ".join(tests)
    return f"{said[:1].upper()}{said[1:]}." if said else "Nothing could be compared."


def _counted(table: Table, compared: Sequence[Row]) -> str:
    """Return in words over how many comparisons each column is corrected."""
    counts = []
    for number in range(len(table.columns)):
        own = [row.cells[number] for row in compared]
        counts.append(max(sum(cell.p is not None for cell in own), sum(cell.p_over_both is not None for cell in own)))
    if len(set(counts)) == 1:
        return f"{counts[0]} comparison{'s' * (counts[0] != 1)} a column"
    return ", ".join(f"{count} of {column.label}" for count, column in zip(counts, table.columns, strict=True))
