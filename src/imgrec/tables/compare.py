"""What the settings of a table differ by, and which leads: as far as their seeds can tell. Imports no torch."""

import math
from collections.abc import Mapping

from imgrec import statistics
from imgrec.errors import UsageError
from imgrec.tables import factors
from imgrec.tables.factors import full, short
from imgrec.tables.table import Cell, Column, Table


def with_baseline(table: Table, baseline: Mapping[str, str]) -> None:
    """Compare each row with the row that has the baseline's values instead of its own, and is alike otherwise.

    Raises UsageError for a baseline that is no setting of the table.
    """
    if not baseline:
        return
    wanted = {full(key): value for key, value in baseline.items()}
    for key in wanted:
        if key not in table.factors.keys:
            varied = ", ".join(map(short, table.factors.keys)) or "nothing"
            raise UsageError(
                f"--baseline {short(key)}={wanted[key]} must name a factor of the table, which are {varied}"
            )
    by_setting = {row.setting: row for row in table.rows}
    for key, value in wanted.items():
        place = table.factors.keys.index(key)
        known = sorted({row.setting[place] for row in table.rows}, key=lambda text: factors.order((text,)))
        if value not in known:
            raise UsageError(f"--baseline {short(key)}={value} must be a setting of the table: {', '.join(known)}")
    compared = []
    for row in table.rows:
        base = tuple(wanted.get(key, value) for key, value in zip(table.factors.keys, row.setting, strict=True))
        if base == row.setting:
            row.is_baseline = True
        elif base in by_setting:
            for cell, other in zip(row.cells, by_setting[base].cells, strict=True):
                cell.difference = statistics.paired(cell.values, other.values)
            compared.append(row)
    for number in range(len(table.columns)):
        ps = [row.cells[number].difference for row in compared]
        corrected = statistics.holm([difference.p if difference else None for difference in ps])
        for row, p in zip(compared, corrected, strict=True):
            row.cells[number].p = p
    counts = [sum(row.cells[number].p is not None for row in compared) for number in range(len(table.columns))]
    named = " ".join(f"{key}={value}" for key, value in baseline.items())
    table.notes.append(
        f"Δ: the mean difference to {named}, seed by seed, with its 95 % interval; p: two-sided paired t test,"
        f" Holm-corrected over {max(counts, default=0)} comparison{'s' * (max(counts, default=0) != 1)} a column."
    )


def mark_best(table: Table) -> None:
    """Mark each column's best setting where its lead over every other is large enough for n seeds to see.

    Otherwise the table's notes say what the seeds can show, and how many would do.
    """
    for number, column in enumerate(table.columns):
        _mark(table, number, column)


def _mark(table: Table, number: int, column: Column) -> None:
    entries = [(row, cell) for row in table.rows if (cell := row.cells[number]).summary is not None]
    if len(entries) < 2:
        return
    ranked = sorted(entries, key=lambda entry: -column.sign * _mean(entry[1]))
    (first, leader), others = ranked[0], ranked[1:]
    doubts = [(*doubt, row) for row, cell in others if (doubt := _doubt(leader, cell, column))]
    if not doubts:
        leader.best = True
        return
    _, reason, row = max(doubts, key=lambda doubt: doubt[0])
    names = {
        "leader": table.name_of(first.setting, beside=row.setting),
        "other": table.name_of(row.setting, beside=first.setting),
    }
    more = f"; nor is its lead over {len(doubts) - 1} more settings" if len(doubts) > 1 else ""
    table.notes.append(f"{column.label}: no best is marked. {reason.format(**names)}{more}.")


def _doubt(leader: Cell, cell: Cell, column: Column) -> tuple[float, str] | None:
    """Why the lead over that cell is not to be believed, after how many seeds would do; None where it is."""
    lead = column.sign * (_mean(leader) - _mean(cell))
    if lead <= 0:
        return math.inf, "{leader} and {other} have the same mean"
    seen = statistics.compare(leader.values, cell.values)
    if seen is None:
        return (
            math.inf,
            f"{{leader}} leads {{other}} by {lead:.3g}, and n = 1 tells nothing of the spread; run more seeds",
        )
    pairs = len(leader.values.keys() & cell.values.keys())
    n = pairs if seen.is_paired else min(len(leader.values), len(cell.values))
    least = seen.detectable(n)
    if least is not None and lead >= least:
        return None
    enough = seen.seeds_for(lead)
    way_out = f"{enough} seeds would do" if enough else f"more than {statistics.MOST_SEEDS} seeds would be needed"
    seeds = f"{n} seed{'s' * (n != 1)}"
    bound = f"less than the {least:.3g} that {seeds} can show" if least is not None else f"which {seeds} cannot show"
    spread = "the differences by seed" if seen.is_paired else "either"
    basis = f"standard deviation of {spread} {seen.std:.3g}; two-sided 5 %, power 80 %"
    return enough or math.inf, f"{{leader}} leads {{other}} by {lead:.3g}, {bound} ({basis}): {way_out}"


def _mean(cell: Cell) -> float:
    assert cell.summary is not None
    return cell.summary.mean
