"""Arrange a table's settings for a figure: one factor by colour, the others by place."""

from collections.abc import Sequence
from dataclasses import dataclass

from imgrec.config.fields import nearest
from imgrec.errors import UsageError
from imgrec.figure.style import MOST_SERIES
from imgrec.tables.factors import full, order, short
from imgrec.tables.names import Names
from imgrec.tables.table import Row, Table

NONE = "none"  # the value of --colour for no factor
_FEW = 4  # largest number of settings whose curves share a panel


@dataclass(frozen=True, kw_only=True)
class Groups:
    """The settings of a figure. Without a factor for colours there is one series.

    Attributes:
        title: The title of the legend of colours.
        series: The names of what colours distinguish.
        places: The names of the combinations of the other factors.
        rows: Each setting's row, by its place and its series.
    """

    title: str | None
    series: list[str]
    places: list[str]
    rows: dict[tuple[int, int], Row]

    @property
    def is_coloured(self) -> bool:
        return len(self.series) > 1

    def name(self, place: int, series: int) -> str:
        """Return the setting's name."""
        return ", ".join(part for part in (self.series[series], self.places[place]) if part) or "all runs"


def group(table: Table, colour: str | None, names: Names, *, many: bool) -> Groups:
    """Arrange the table's settings.

    Args:
        table: The table.
        colour: A factor's key, `none`, or None for the most suitable factor.
        names: Names for print.
        many: True to prefer the factor with the most values.

    Raises:
        UsageError: The key is no factor of the table, or has more values than there are colours.
    """
    keys = table.factors.keys
    spoken = [names.setting(keys, row.setting) for row in table.rows]
    if many and colour is None and len(keys) > 1 and len(table.rows) <= _FEW:
        return Groups(title=None, series=spoken, places=[""], rows={(0, k): row for k, row in enumerate(table.rows)})
    place = _requested_factor(table, colour) if colour is not None else _best_factor(table, many=many)
    if place is None:
        if many and colour is None and len(table.rows) <= MOST_SERIES:
            return Groups(
                title=None, series=spoken, places=[""], rows={(0, k): row for k, row in enumerate(table.rows)}
            )
        return Groups(title=None, series=[""], places=spoken, rows={(k, 0): row for k, row in enumerate(table.rows)})
    values = _values(table, place)
    others = list(dict.fromkeys(_without(row, place) for row in table.rows))
    rest = [key for k, key in enumerate(keys) if k != place]
    return Groups(
        title=names.factor(keys[place]),
        series=[names.value(keys[place], value) for value in values],
        places=[names.setting(rest, other) if rest else "" for other in others],
        rows={(others.index(_without(row, place)), values.index(row.setting[place])): row for row in table.rows},
    )


def _requested_factor(table: Table, colour: str) -> int | None:
    """Return the position of the requested factor; None for `none`."""
    if colour == NONE:
        return None
    keys = list(table.factors.keys)
    if full(colour) not in keys:
        known = [short(key) for key in keys]
        guess = nearest(short(colour), known)
        hint = f"did you mean {guess}?" if guess else f"they are {', '.join(known) or 'none, as nothing varies'}"
        raise UsageError(f"--colour {colour} must be a factor of the figure or {NONE}, and is neither; {hint}")
    values = _values(table, keys.index(full(colour)))
    if len(values) > MOST_SERIES:
        raise UsageError(
            f"--colour {colour} must have {MOST_SERIES} values at most, as there are {MOST_SERIES} colours, and has"
            f" {len(values)}; choose another factor, or --colour {NONE}, or fewer runs with --where"
        )
    return keys.index(full(colour))


def _best_factor(table: Table, *, many: bool) -> int | None:
    """Return the position of the most suitable factor for colours.

    Returns:
        None if no factor has 2 to MOST_SERIES values and settings that agree in all other factors.
    """
    keys = table.factors.keys
    if len(keys) < 2 and not many:
        return None
    suiting = [
        place
        for place in range(len(keys))
        if 2 <= len(_values(table, place)) <= MOST_SERIES
        and len({_without(row, place) for row in table.rows}) < len(table.rows)
    ]
    if not suiting:
        return None
    return sorted(suiting, key=lambda place: (-1 if many else 1) * len(_values(table, place)))[0]


def _values(table: Table, place: int) -> list[str]:
    return sorted({row.setting[place] for row in table.rows}, key=lambda value: order((value,)))


def _without(row: Row, place: int) -> Sequence[str]:
    return row.setting[:place] + row.setting[place + 1 :]
