"""What the settings of a table differ by, and which leads: as far as their seeds can tell. Imports no torch."""

import math
from collections.abc import Mapping

from imgrec import statistics
from imgrec.errors import UsageError
from imgrec.tables import factors
from imgrec.tables.column import Column
from imgrec.tables.factors import DATA, ROOT, full, short
from imgrec.tables.table import Cell, Row, Table

_NO_PROBABILITIES = ("hinge", "mse")  # the losses that logits of probabilities do not minimise
_ECE_OF_LOSSES = f"losses, or of {' or '.join(_NO_PROBABILITIES)}, whose outputs are no logits of probabilities"
_FEW = 3  # factors up to which a setting is named in full beside another


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
    compared: list[Row] = []
    for row in table.rows:
        base = tuple(wanted.get(key, value) for key, value in zip(table.factors.keys, row.setting, strict=True))
        if base == row.setting:
            row.is_baseline = True
        elif base not in by_setting:
            table.notes.append(f"no run of {table.name_of(base)}, the baseline of {table.name_of(row.setting)}")
        else:
            other = by_setting[base]
            for column, cell, basis in zip(table.columns, row.cells, other.cells, strict=True):
                if _is_comparable(row, other, column):
                    cell.difference = statistics.paired(cell.values, basis.values)
            compared.append(row)
            if not any(cell.difference for cell in row.cells):
                table.notes.append(f"no seed, or no score, in common with its baseline: {table.name_of(row.setting)}")
    for number in range(len(table.columns)):
        ps = [row.cells[number].difference for row in compared]
        corrected = statistics.holm([difference.p if difference else None for difference in ps])
        for row, p in zip(compared, corrected, strict=True):
            row.cells[number].p = p
    tests = max(sum(row.cells[number].p is not None for row in compared) for number in range(len(table.columns)))
    named = " ".join(f"{key}={value}" for key, value in baseline.items())
    table.notes.append(
        f"Δ: the mean difference to {named}, seed by seed, with its 95 % interval (not corrected); p: two-sided paired"
        f" t test, Holm-corrected over {tests} comparison{'s' * (tests != 1)} a column."
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
    if not all(_is_comparable(entries[0][0], row, column) for row, _ in entries):
        data = len({_images(row) for row, _ in entries}) > 1
        losses = "losses, each measured by its own" if column.metric == "loss" else _ECE_OF_LOSSES
        what = "data" if data else losses
        table.notes.append(f"{column.label}: no best is marked, as the rows are of different {what}.")
        return
    ranked = sorted(entries, key=lambda entry: -column.sign * _mean(entry[1]))
    (first, leader), others = ranked[0], ranked[1:]
    doubts = [(*doubt, row) for row, cell in others if (doubt := _doubt(leader, cell, column)) is not None]
    if not doubts:
        leader.best = True
        return
    _, reason, row = max(doubts, key=lambda doubt: doubt[0])
    many = len(table.factors.keys) > _FEW
    names = {
        "leader": table.name_of(first.setting, beside=row.setting if many else None),
        "other": table.name_of(row.setting, beside=first.setting if many else None),
    }
    more = f" The same holds of its lead over {len(doubts) - 1} more." if len(doubts) > 1 else ""
    table.notes.append(f"{column.label}: no best is marked. {reason.format(**names)}.{more}")


def _is_comparable(row: Row, other: Row, column: Column) -> bool:
    """Whether two settings' scores measure the same.

    The same images; for the loss, the same criterion; for the calibration error, outputs that are logits of
    probabilities.
    """
    measured = _measured(row, column)
    return measured == _measured(other, column) and ("probabilities", "False") not in measured


def _measured(row: Row, column: Column) -> list[tuple[str, str]]:
    config = row.runs[0].record.config
    keys = [key for key in config if column.metric == "loss" and key.startswith("loss.")]
    measured = [*_images(row), *((key, factors.text(config[key])) for key in keys)]
    if column.metric == "ece":
        measured.append(("probabilities", str(config.get("loss.name") not in _NO_PROBABILITIES)))
    return measured


def _images(row: Row) -> tuple[tuple[str, str], ...]:
    """What tells the images of a setting apart."""
    return tuple((key, factors.text(factors.value_of(row.runs[0].record, key))) for key in (DATA, ROOT))


def _doubt(leader: Cell, cell: Cell, column: Column) -> tuple[float, str] | None:
    """Why the lead over that cell is not to be believed, after how many seeds would do; None where it is.

    Lead and spread are of the same runs: those of shared seeds, where settings share some, else all.
    """
    seen = statistics.compare(leader.values, cell.values)
    pairs = statistics.paired(leader.values, cell.values)
    whole = column.sign * (_mean(leader) - _mean(cell))
    if whole == 0:
        return math.inf, "{leader} and {other} have the same mean"
    if seen is None:
        return math.inf, f"{{leader}} leads {{other}} by {whole:.3g}, and their runs tell nothing of the spread"
    lead, n = whole, min(len(leader.values), len(cell.values))
    if seen.is_paired and pairs is not None:
        lead, n = column.sign * pairs.mean, pairs.n
        if lead <= 0:
            return math.inf, "{leader} leads {other} by its mean, but not on the seeds that both have"
    least = seen.detectable(n)
    if least is not None and lead >= least:
        return None
    enough = seen.seeds_for(lead)
    basis = f"standard deviation of {'the differences by seed' if seen.is_paired else 'either'} {seen.std:.3g}"
    limit = f"one seed cannot show it ({basis})"
    if least is not None:
        limit = f"{n} seeds find a true difference with a chance of 80 % only from {least:.3g} ({basis}; two-sided 5 %)"
    more = f"about {enough} seeds would do" if enough else f"more than {statistics.MOST_SEEDS} seeds would be needed"
    return enough or math.inf, f"{{leader}} leads {{other}} by {lead:.3g}; {limit}: if both are as seen, {more}"


def _mean(cell: Cell) -> float:
    assert cell.summary is not None
    return cell.summary.mean
