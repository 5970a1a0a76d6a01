"""Compute marginal means: average settings over the values of some factors, seed by seed. Imports no torch."""

from collections.abc import Sequence
from dataclasses import replace

from imgrec import statistics
from imgrec.errors import UsageError
from imgrec.tables import comparable, factors
from imgrec.tables.column import Column
from imgrec.tables.factors import Factors, Setting, full, short
from imgrec.tables.names import Names
from imgrec.tables.table import Cell, Row, Values

SEED = "seed"  # every table averages over seeds


def keys_of(words: Sequence[str]) -> tuple[str, ...]:
    """Return the dotted keys of the factors to average over, without the seed."""
    return tuple(full(word) for word in words if word != SEED)


def over(
    rows: Sequence[Row],
    found: Factors,
    keys: Sequence[str],
    columns: Sequence[Column],
    names: Names,
    notes: list[str],
) -> tuple[Factors, list[Row]]:
    """Return the rows averaged over all values of these factors, and the factors that remain.

    A seed's value is the mean over its runs with each of the values. A seed that lacks one of them is left out, and a
    note says so. Statements on new images hold for single settings and not for such means, so the averaged rows have
    none.

    Args:
        rows: The rows of single settings.
        found: Their factors.
        keys: Dotted keys of the factors to average over.
        columns: The scores.
        names: Names for print.
        notes: A list to which notes are added.

    Raises:
        UsageError: A key is no factor, a setting has no runs with some value, or the scores of the values do not
            measure the same quantity.
    """
    for key in keys:
        if key not in found.keys:
            varied = ", ".join(map(short, found.keys)) or "nothing"
            raise UsageError(f"--average {short(key)} must be a factor of the runs, and in them {varied} varies")
    places = [found.keys.index(key) for key in keys]
    kept = [place for place in range(len(found.keys)) if place not in places]
    levels = sorted({_pick(row.setting, places) for row in rows}, key=factors.order)
    groups: dict[Setting, dict[Setting, Row]] = {}
    for row in rows:
        groups.setdefault(_pick(row.setting, kept), {})[_pick(row.setting, places)] = row
    left = replace(found, keys=tuple(found.keys[place] for place in kept))

    def name(keys: Sequence[str], values: Setting) -> str:
        return " ".join(names.words(key, value) for key, value in zip(keys, values, strict=True)) or "the runs"

    averaged = []
    for setting, by_level in groups.items():
        for level in levels:
            if level not in by_level:
                raise UsageError(
                    f"--average {','.join(map(short, keys))} needs runs of every setting with each value, and"
                    f" {name(left.keys, setting)} has none with {name(keys, level)}; leave some out with --where"
                )
        own = [by_level[level] for level in levels]
        cells = []
        for number, column in enumerate(columns):
            if not all(comparable.measures_same(own[0], row, column) for row in own):
                raise UsageError(
                    f"--average {','.join(map(short, keys))} must be over scores that measure the same, and"
                    f" {column.label} does not, over different data or losses; choose another score, or leave some out"
                    " with --where"
                )
            cell, lacking = mean_cell([row.cells[number] for row in own], column)
            cells.append(cell)
            if lacking:
                seeds = ", ".join(str(seed) for seed in lacking)
                notes.append(
                    f"{column.label}: seed {seeds} of {name(left.keys, setting)} is left out, as not all have it"
                )
        averaged.append(
            Row(
                setting=setting,
                runs=[run for row in own for run in row.runs],
                cells=cells,
                missing=[seed for row in own for seed in row.missing],
                levels=sum(row.levels for row in own),
                over=(*keys, *own[0].over),
            )
        )
    values = []
    for k, key in enumerate(keys):
        own_values = [names.value(key, value) for value in dict.fromkeys(level[k] for level in levels)]
        values.append(f"{names.factor(key)} ({', '.join(own_values)})")
    notes.append(
        f"Averaged over {' and '.join(values)}: a seed's value is its mean over these {len(levels)} settings, of"
        " the same weight each. So n counts seeds, and intervals are of new seeds with these settings."
    )
    return left, averaged


def _pick(setting: Setting, places: Sequence[int]) -> Setting:
    return tuple(setting[place] for place in places)


def mean_cell(cells: Sequence[Cell], column: Column) -> tuple[Cell, list[int]]:
    """Return the mean of the cells for each seed that all have, and the seeds that some lack."""
    values: Values = {
        key: sum(cell.values[key] for cell in cells) / len(cells)
        for key in cells[0].values
        if all(key in cell.values for cell in cells)
    }
    lacking = sorted({seed for cell in cells for seed, same in cell.values if (seed, same) not in values})
    summary = statistics.summarise(list(values.values()), within=column.within) if values else None
    places = frozenset[str]().union(*(cell.places for cell in cells))
    return Cell(values=values, summary=summary, places=places), lacking
