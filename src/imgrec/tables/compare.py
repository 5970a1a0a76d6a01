"""Compare two settings of a table, and each setting with its baseline, by their runs. Imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imgrec import statistics
from imgrec.config.registry import components
from imgrec.errors import UsageError
from imgrec.records import Record
from imgrec.statistics import Both, Contrast
from imgrec.tables import factors
from imgrec.tables.column import Column
from imgrec.tables.factors import DATA, ROOT, full, short
from imgrec.tables.table import Cell, Row, Table


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The difference of one cell and another.

    Attributes:
        runs: The number of runs of each.
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


def with_baseline(table: Table, baseline: Mapping[str, str]) -> None:
    """Compare each row with its baseline row: the row that has the baseline's values and is otherwise the same.

    Raises:
        UsageError: The baseline is no setting of the table.
    """
    if not baseline:
        return
    wanted = _baseline_values(table, baseline)
    by_setting = {row.setting: row for row in table.rows}
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
                if is_comparable(row, other, column) and (found := cells(cell, basis, column)) is not None:
                    cell.difference, cell.difference_over_both = found.seeds, found.both
            compared.append(row)
            if not any(cell.difference for cell in row.cells):
                table.notes.append(f"no score to compare with its baseline: {table.name_of(row.setting)}")
    _correct(table, compared)
    named = " ".join(table.names.words(full(key), value) for key, value in baseline.items())
    table.notes.append(
        f"Δ: the difference of means to {named}, with its 95 % interval (not corrected). {_rule(compared)}"
    )
    table.notes.append(f"p: two-sided; Holm-corrected over {_counted(table, compared)}.")


def _baseline_values(table: Table, baseline: Mapping[str, str]) -> dict[str, str]:
    """Return the baseline's values by their dotted keys.

    Raises:
        UsageError: A key or a value is not in the table.
    """
    wanted = {full(key): value for key, value in baseline.items()}
    for key, value in wanted.items():
        if key not in table.factors.keys:
            varied = ", ".join(map(short, table.factors.keys)) or "nothing"
            raise UsageError(f"--baseline {short(key)}={value} must name a factor of the table, which are {varied}")
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


def is_comparable(row: Row, other: Row, column: Column) -> bool:
    """Return True if two settings' scores measure the same quantity, on images that were drawn in the same way."""
    return measures_same(row, other, column) and not apart(row, other, column)


def apart(row: Row, other: Row, column: Column) -> list[str]:
    """Return the keys whose values give the two settings different images of the split.

    The list is empty where both settings have a draw in common. So settings are compared where both vary the draw in
    the same way, or where one lacks a run.
    """
    ours, theirs = ({factors.drawn(run.record, column.split) for run in each.runs} for each in (row, other))
    if ours & theirs:
        return []
    values = zip(factors.DRAWN.get(column.split, ()), zip(*ours, strict=True), zip(*theirs, strict=True), strict=True)
    return [key for key, one, another in values if set(one) != set(another)]


def measures_same(row: Row, other: Row, column: Column) -> bool:
    """Return True if two settings' scores measure the same quantity on the same data set, however its splits are drawn.

    A loss must have the same criterion. A calibration error needs outputs that are logits of probabilities.
    """
    measured = _measured(row, column)
    return measured == _measured(other, column) and ("probabilities", "False") not in measured


def _measured(row: Row, column: Column) -> list[tuple[str, str]]:
    config = row.runs[0].record.config
    keys = [key for key in config if column.metric == "loss" and key.startswith("loss.")]
    measured = [*images_of(row), *((key, factors.text(config[key])) for key in keys)]
    if column.is_calibration:
        measured.append(("probabilities", str(gives_probabilities(row.runs[0].record))))
    return measured


def gives_probabilities(record: Record) -> bool:
    """Return True if the outputs of a run's network are logits of probabilities, by its loss or by its record."""
    name = str(record.config.get("loss.name"))
    if (kept := record.components.get(f"loss={name}")) is not None:
        return bool(kept.get("gives_probabilities", True))
    return bool(getattr(components("loss").get(name), "gives_probabilities", True))


def images_of(row: Row) -> tuple[tuple[str, str], ...]:
    """Return the values that identify the images of a setting."""
    return tuple((key, factors.text(factors.value_of(row.runs[0].record, key))) for key in (DATA, ROOT))
