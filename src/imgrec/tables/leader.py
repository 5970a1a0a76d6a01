"""Decide which setting leads a column, and whether its runs are enough to show it. Imports no torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from imgrec import statistics
from imgrec.config.registry import components
from imgrec.statistics import LEVEL, MOST_SEEDS, Comparison
from imgrec.tables import comparable, compare
from imgrec.tables.column import Column
from imgrec.tables.comparable import gives_probabilities
from imgrec.tables.compare import Compared
from imgrec.tables.table import Cell, Row, Table

_FEW = 3  # number of factors up to which a setting is named in full beside another


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """A reason why a lead is not shown by the runs.

    Attributes:
        leader: The leading setting, in words.
        other: The setting that it leads, in words.
        lead: The difference of their means, positive.
        found: The comparison of both.
        seeds: How many seeds would be enough; doubts are sorted by it.
        reason: The reason in words, with the lead.
        why: The reason without the lead, where there is no remedy.
        way_out: The remedy, in words.
    """

    leader: str
    other: str
    lead: float
    found: Compared
    seeds: float
    reason: str
    why: str = ""
    way_out: str = ""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The first two settings of a column, and the doubts about the lead.

    A column of reference values has neither.

    Attributes:
        first: The best setting.
        second: The next one.
        found: The comparison of both.
        doubts: The largest first; empty if the first setting is marked.
        incomparable: In words, why the column's settings cannot be compared; empty if they can.
    """

    first: Row | None = None
    second: Row | None = None
    found: Compared | None = None
    doubts: tuple[Doubt, ...] = ()
    incomparable: str = ""


def mark(table: Table) -> list[Standing]:
    """Mark each column's best setting where its lead over every other setting is large enough for its runs to show.

    Otherwise the table's notes say what the runs can show, and how many runs would be enough.

    Returns:
        The standing of each column.
    """
    standings = [stand(table, number) for number in range(len(table.columns))]
    amounts: list[float] = []
    for number, (column, standing) in enumerate(zip(table.columns, standings, strict=True)):
        if standing.incomparable:
            table.notes.append(f"{column.label}: no best is marked, as the rows are of {standing.incomparable}.")
        elif standing.doubts:
            doubt = standing.doubts[0]
            rest = len(standing.doubts) - 1
            more = f" The same holds of its lead over {rest} more." if rest else ""
            table.notes.append(f"{column.label}: no best is marked. {doubt.reason}{doubt.way_out}.{more}")
        elif standing.first is not None and standing.second is not None:
            standing.first.cells[number].best = True
            amounts += _p_bounds(table, number, standing.first)
    if amounts:
        over_both = any(cell.answers for row in table.rows for cell in row.cells)
        ends = list(dict.fromkeys(f"{p:.2g}" for p in (min(amounts), max(amounts))))
        table.notes.append(
            "Bold: all its runs are finished, and its lead over every other setting is one that as many seeds would"
            f" find with a chance of {100 * statistics.POWER:.0f} %, which amounts to p < {' to '.join(ends)} each"
            f"{f', with p < {LEVEL} on new images' if over_both else ''}."
        )
    return standings


def stand(table: Table, number: int) -> Standing:
    """Return the standing of a column's settings."""
    column = table.columns[number]
    if column.is_reference:
        return Standing()
    entries = [row for row in table.rows if row.cells[number].summary is not None]
    if len(entries) < 2:
        return Standing(first=entries[0] if entries else None)
    first, *others = sorted(entries, key=lambda row: -column.sign * mean_of(row.cells[number]))
    if not all(comparable.is_comparable(first, row, column) for row in entries):
        return Standing(incomparable=f"different {_why_incomparable(first, others, column)}")
    if not all(comparable.is_at_one_place(first.cells[number], row.cells[number]) for row in entries):
        return Standing(incomparable="different epochs (the best and the last)")
    doubts = [doubt for row in others if (doubt := _doubt(table, number, first, row)) is not None]
    return Standing(
        first=first,
        second=others[0],
        found=compare.cells(first.cells[number], others[0].cells[number], column),
        doubts=tuple(sorted(doubts, key=lambda doubt: -doubt.seeds)),
    )


def _has_probabilities(row: Row) -> bool:
    return gives_probabilities(row.runs[0].record)


def _why_incomparable(first: Row, others: Sequence[Row], column: Column) -> str:
    """Return in words why the first setting cannot be compared with all others."""
    if any(comparable.images_of(first) != comparable.images_of(row) for row in others):
        return "data"
    if keys := list(dict.fromkeys(key for row in others for key in comparable.apart(first, row, column))):
        return f"{column.split} images ({', '.join(keys)})"
    if column.metric == "loss":
        return "losses, each measured by its own"
    names = {name for name, loss in components("loss").items() if not getattr(loss, "gives_probabilities", True)}
    names |= {
        str(row.runs[0].record.config.get("loss.name")) for row in (first, *others) if not _has_probabilities(row)
    }
    without = " or ".join(sorted(names))
    return f"losses, or of {without}, whose outputs are no logits of probabilities"


def _p_bounds(table: Table, number: int, first: Row) -> list[float]:
    """Return, for each other setting, the p value that corresponds to the smallest lead that would be marked."""
    found = []
    for row in table.rows:
        ours, theirs = first.cells[number], row.cells[number]
        if row is not first and theirs.summary is not None:
            seen = statistics.compare(ours.values, theirs.values)
            p = seen.p_of_detectable(_min_n(ours, theirs)) if seen else None
            found += [p] if p is not None else []
    return found


def _doubt(table: Table, number: int, first: Row, row: Row) -> Doubt | None:
    """Return why the lead over that row is not shown by the runs; None if it is shown."""
    column, leader, cell = table.columns[number], first.cells[number], row.cells[number]
    found = compare.cells(leader, cell, column)
    assert found is not None  # both have values
    many = len(table.factors.keys) > _FEW
    ours = named(table, first, leader, beside=row if many else None)
    theirs = named(table, row, cell, beside=first if many else None)
    lead = column.sign * (mean_of(leader) - mean_of(cell))

    def doubt(reason: str, seeds: float = math.inf, *, why: str = "", way_out: str = "") -> Doubt:
        return Doubt(
            leader=ours, other=theirs, lead=lead, found=found, seeds=seeds, reason=reason, why=why, way_out=way_out
        )

    if lead == 0:
        return doubt(f"{ours} and {theirs} have the same mean")
    said = f"{ours} leads {theirs} by {lead:.3g}"
    for each, name in ((first, ours), (row, theirs)):
        if differ := each.different_code:
            why = f"the runs of {name} were made by different code of {', '.join(differ)}"
            return doubt(f"{said}, and {why}", why=why)
    seen = statistics.compare(leader.values, cell.values)
    if seen is None:
        why = "their runs tell nothing of the spread"
        return doubt(f"{said}, and {why}", why=why)
    least = seen.detectable(_min_n(leader, cell))
    if least is None or lead < least:
        limit, way_out = _limit(seen, _min_n(leader, cell), least, lead)
        return doubt(f"{said}; {limit}", seen.seeds_for(lead) or math.inf, way_out=way_out)
    if found.both is not None and found.both.p is not None and found.both.p >= LEVEL:
        told = (
            f"which {_min_n(leader, cell)} seeds can tell of these images, while new images have p = {found.both.p:.2g}"
        )
        return doubt(f"{said}, {told}", 0, why=told)
    if found.both is None and leader.lacking + cell.lacking:
        why = "the predictions that would show it of new images are not there"
        return doubt(f"{said}, and {why}", 0, why=why)
    if first.scored(leader) < first.asked:
        why = "the runs that it lacks may have gone worse"
        return doubt(f"{said}, and {why}", 0, why=why)
    return None


def _limit(seen: Comparison, n: int, least: float | None, lead: float) -> tuple[str, str]:
    """Return what n seeds can show, and how many seeds would be enough.

    The second is a range, as the standard deviation is itself an estimate.
    """
    basis = f"standard deviation of {'the differences by seed' if seen.is_paired else 'either'} {seen.std:.3g}"
    limit = f"one seed cannot show it ({basis})"
    if least is not None:
        p = seen.p_of_detectable(n)
        limit = (
            f"{n} seeds find a true difference with a chance of {100 * statistics.POWER:.0f} % only from {least:.3g}"
            f" ({basis}; to be marked it would take p < {p:.2g})"
        )
    return limit, f"; if lead and deviation are as seen, {seeds_needed(seen, lead)}"


def seeds_needed(seen: Comparison, lead: float) -> str:
    """Return in words how many seeds would show the lead.

    The numbers are for the observed deviation and for both ends of its 95 % interval.
    """
    enough = seen.seeds_for(lead)
    if enough is None:
        return f"more than {MOST_SEEDS} seeds would be needed"
    low, high = seen.seeds_range(lead)
    upto = f"over {MOST_SEEDS}" if high is None else str(high)
    return f"about {enough} seeds would do ({low} to {upto}, as far as the deviation is known)"


def named(table: Table, row: Row, cell: Cell, *, beside: Row | None = None) -> str:
    """Return the setting in words; where some of its runs have no score, with the number of runs that have one."""
    name, n = table.name_of(row.setting, beside=beside.setting if beside else None), row.scored(cell)
    return f"{name} ({n} of {row.asked} runs)" if n < row.asked else name


def _min_n(ours: Cell, theirs: Cell) -> int:
    return min(len(ours.values), len(theirs.values))


def mean_of(cell: Cell) -> float:
    """Return the mean of a cell, which must have one."""
    assert cell.summary is not None
    return cell.summary.mean
