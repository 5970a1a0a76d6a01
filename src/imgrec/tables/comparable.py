"""Decide which scores of two settings measure the same quantity on the same images. Imports no torch."""

from imgrec.config.registry import components
from imgrec.records import Record
from imgrec.tables import factors
from imgrec.tables.column import Column
from imgrec.tables.factors import DATA, ROOT
from imgrec.tables.table import Cell, Row


def is_comparable(row: Row, other: Row, column: Column) -> bool:
    """Return True if two settings' scores measure the same quantity, on images that were drawn in the same way."""
    return measures_same(row, other, column) and not apart(row, other, column)


def is_at_one_place(cell: Cell, other: Cell) -> bool:
    """Return True if all scores of both cells were measured at the best epoch, or all at the last one."""
    return len(cell.places | other.places) == 1


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
    return images_of(row) == images_of(other) and is_of_one_kind(row, other, column)


def is_of_one_kind(row: Row, other: Row, column: Column) -> bool:
    """Return True if two settings' scores measure the same quantity, on whatever images."""
    kind = _kind(row, column)
    return kind == _kind(other, column) and ("probabilities", "False") not in kind


def _kind(row: Row, column: Column) -> list[tuple[str, str]]:
    config = row.runs[0].record.config
    kind = [(key, factors.text(config[key])) for key in config if column.metric == "loss" and key.startswith("loss.")]
    if column.is_calibration:
        kind.append(("probabilities", str(gives_probabilities(row.runs[0].record))))
    return kind


def gives_probabilities(record: Record) -> bool:
    """Return True if the outputs of a run's network are logits of probabilities, by its loss or by its record."""
    name = str(record.config.get("loss.name"))
    if (kept := record.components.get(f"loss={name}")) is not None:
        return bool(kept.get("gives_probabilities", True))
    return bool(getattr(components("loss").get(name), "gives_probabilities", True))


def images_of(row: Row) -> tuple[tuple[str, str], ...]:
    """Return the values that identify the images of a setting."""
    return tuple((key, factors.text(factors.value_of(row.runs[0].record, key))) for key in (DATA, ROOT))
