"""A table's answer in a sentence that a reader can quote. Imports no torch."""

from collections.abc import Sequence

from imgrec.tables import best
from imgrec.tables.best import Standing, mean_of
from imgrec.tables.column import Column
from imgrec.tables.compare import Compared
from imgrec.tables.table import Row, Table


def give(table: Table, standings: Sequence[Standing]) -> None:
    """Set the table's verdict: of its first score."""
    table.verdict = _sentence(table, table.columns[0], 0, standings[0])


def _sentence(table: Table, column: Column, number: int, standing: Standing) -> str:
    if standing.incomparable:
        return f"{column.label}: the settings are not compared, as they are of {standing.incomparable}."
    if standing.first is None:
        return f"{column.label}: no run has a score yet."
    if standing.second is None or standing.found is None:
        return _alone(table, column, number, standing.first)
    if standing.doubts:
        return _doubtful(column, standing)
    first, second = (best.named(table, row, number) for row in (standing.first, standing.second))
    ours, theirs = standing.first.cells[number], standing.second.cells[number]
    return (
        f"{column.label}: {first} is best; it leads {second}, the next, by"
        f" {lead(column, column.sign * (mean_of(ours) - mean_of(theirs)), standing.found)}."
    )


def _alone(table: Table, column: Column, number: int, row: Row) -> str:
    """One setting by itself."""
    cell = row.cells[number]
    n, places = len(cell.values), _places(column)
    known = []
    if cell.summary is not None and cell.summary.low is not None:
        known.append(f"[{cell.summary.low:.{places}f}, {cell.summary.high:.{places}f}] on these images")
    if cell.over_both is not None:
        ends = (end * column.scale for end in (cell.over_both.low, cell.over_both.high))
        known.append(f"[{', '.join(f'{end:.{places}f}' for end in ends)}] on new images")
    within = f", 95 % {', '.join(known)}" if known else ""
    named = best.named(table, row, number)
    of = "" if named == "the runs" else f"{named}, "
    return f"{column.label}: {of}{mean_of(cell):.{places}f} ({n} seed{'s' * (n != 1)}{within})."


def _doubtful(column: Column, standing: Standing) -> str:
    doubt = standing.doubts[0]
    rest = len(standing.doubts) - 1
    more = f" Nor can it be told from {rest} more setting{'s' * (rest > 1)}." if rest else ""
    if doubt.lead == 0:
        return f"{column.label}: can't tell which is best; {doubt.reason}.{more}"
    why = doubt.way_out.removeprefix(": ") or doubt.reason.partition(", ")[2].removeprefix("and ")
    return (
        f"{column.label}: can't tell which is best; {doubt.leader} leads {doubt.other} by"
        f" {lead(column, doubt.lead, doubt.found)}{f'; {why}' if why else ''}.{more}"
    )


def lead(column: Column, amount: float, found: Compared) -> str:
    """`1.67 points [0.27, 3.07] (5 seeds each, these images); new images: [-0.10, 3.40]`."""
    places = _places(column)
    shown = found.seeds.shown

    def ends(low: float, high: float) -> str:
        signed = sorted((column.sign * low, column.sign * high))
        return f"[{', '.join(f'{end:.{places}f}' for end in signed)}]"

    few, many = sorted(found.runs)
    n = f"{few} seed{'s' * (few != 1)} each" if few == many else f"{few} and {many} seeds"
    said = f"{amount:.{places}f}{column.unit}"
    if shown.low is not None and shown.high is not None:
        said += f" {ends(shown.low, shown.high)}"
    said += f" ({n}, these images)"
    both = found.both
    if both is not None and both.low is not None and both.high is not None:
        what = "new images" if both.of_runs else "these two runs on new images"
        said += f"; {what}: {ends(both.low * column.scale, both.high * column.scale)}"
    return said


def _places(column: Column) -> int:
    return 4 if column.scale == 1 else 2
