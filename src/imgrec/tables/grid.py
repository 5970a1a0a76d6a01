"""Turn a table into rows and columns of texts, which every format for people shows. Imports no torch."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase

from imgrec.statistics import LEVEL
from imgrec.tables import run_score
from imgrec.tables.factors import ABSENT, Setting, order
from imgrec.tables.numbers import Numbers, numbers
from imgrec.tables.published import Figure
from imgrec.tables.table import Cell, Row, Table
from imgrec.untrusted_text import folded

COSTS = (("parameters", "parameters", 1.0), ("flops_per_image", "MFLOPs an image", 1e-6), ("seconds", "seconds", 1.0))
"""For each cost: its name in records, its name in tables, and the factor from the record's unit to the table's."""

_HIDDEN_AS = {"flops_per_image": "flops"}


@dataclass(frozen=True, kw_only=True)
class Field:
    """A cell as text. `strong` is True if it is emphasised."""

    text: str
    strong: bool = False


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The texts of a table.

    Attributes:
        header: One name for each column.
        numeric: For each column, True if it is aligned to the right.
        rows: One field for each column.
        notes: The notes below the table.
        verdict: The answer, which is shown first.
        asides: The notes that a reader of a paper does not need: what the runs were made with, and warnings.
    """

    header: list[str]
    numeric: list[bool]
    rows: list[list[Field]]
    notes: list[str]
    verdict: str = ""
    asides: list[str] = field(default_factory=list)


def grid(table: Table, digits: int | None = None, hide: Collection[str] = ()) -> Grid:
    """Return the table as texts for people. Each text is on one line, whatever records and sources contain.

    Args:
        table: The table.
        digits: Decimal places; None for the default of each score.
        hide: Kinds of columns to leave out, of layout.HIDEABLE.
    """
    made = _pivot(table, digits, hide) if table.pivot else _long(table, digits, hide)
    return Grid(
        header=[folded(name) for name in made.header],
        numeric=made.numeric,
        rows=[[Field(text=folded(field.text), strong=field.strong) for field in row] for row in made.rows],
        notes=[folded(note) for note in made.notes],
        verdict=folded(made.verdict),
        asides=[folded(note) for note in (table.provenance, *_warnings(table)) if note],
    )


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """A column of numbers about a score.

    Attributes:
        kind: Its kind, of layout.HIDEABLE.
        header: Its header.
        field: Makes its field in a row.
    """

    kind: str
    header: str
    field: Callable[[Row, Cell, Numbers], Field]


def statistics_of(table: Table, number: int) -> list[Statistic]:
    """Return the statistics to show beside a score's mean: those that at least one row has."""
    cells = [row.cells[number] for row in table.rows]
    level = f"{100 * (1 - LEVEL):.0f} %"
    over_both = any(cell.over_both for cell in cells)
    shown = []
    if not over_both or any(len(cell.values) > 1 for cell in cells):
        shown.append(Statistic(kind="interval", header=level, field=lambda _, __, told: Field(text=told.interval)))
    if over_both:
        header = f"{level}, new images"
        shown.append(
            Statistic(kind="new_images", header=header, field=lambda _, __, told: Field(text=told.interval_over_both))
        )
    if table.baseline:
        label = f"Δ {table.columns[number].label}"
        shown.append(
            Statistic(kind="difference", header=label, field=lambda row, _, told: Field(text=_change(row, told)))
        )
        shown.append(Statistic(kind="p", header="p", field=lambda _, __, told: Field(text=told.p or ABSENT)))
        if any(cell.difference_over_both for cell in cells):
            label = "Δ, new images"
            shown.append(
                Statistic(kind="new_images", header=label, field=lambda _, __, told: Field(text=told.change_over_both))
            )
            shown.append(
                Statistic(
                    kind="new_images",
                    header="p, new images",
                    field=lambda _, __, told: Field(text=told.p_both or ABSENT),
                )
            )
    return shown


def _change(row: Row, told: Numbers) -> str:
    return "baseline" if row.is_baseline else told.change


def _long(table: Table, digits: int | None, hide: Collection[str]) -> Grid:
    """Return the grid with one row for each setting."""
    unfinished = any(_count_finite(table, row) < row.asked for row in table.rows)
    costs = [cost for cost in COSTS if _HIDDEN_AS.get(cost[0], cost[0]) not in hide]
    known = [cost for cost in costs if any(row.cost(cost[0]) is not None for row in table.rows)]
    same = [cost for cost in known if len(table.rows) > 1 and len({row.cost(cost[0]) for row in table.rows}) == 1]
    costs = [cost for cost in known if cost not in same]
    sources = _sources(table) if "published" not in hide else []
    shown = [
        [each for each in statistics_of(table, number) if each.kind not in hide] for number in range(len(table.columns))
    ]
    header = [table.names.factor(key) for key in table.factors.keys] or ["setting"]
    header += [*(["n"] if "n" not in hide else []), *(["runs"] if unfinished else [])]
    for column, own in zip(table.columns, shown, strict=True):
        header += [column.label, *(each.header for each in own)]
    header += [*(["published"] if sources else []), *(name for _, name, _ in costs)]
    words = len(table.factors.keys) or 1
    return Grid(
        header=header,
        numeric=[place >= words and name not in ("runs", "published") for place, name in enumerate(header)],
        rows=[
            [
                *_setting_fields(table, row, unfinished=unfinished, hide=hide),
                *_score_fields(table, row, shown, digits, hide),
                *(
                    [Field(text="; ".join(_figure(each, sources) for each in row.published) or ABSENT)]
                    if sources
                    else []
                ),
                *(Field(text=amount(row.cost(key), scale)) for key, _, scale in costs),
            ]
            for row in table.rows
        ],
        notes=[*table.notes, *_in_every_row(table, same), *_cited(sources), *_warnings(table)],
        verdict=table.verdict,
    )


def _warnings(table: Table) -> list[str]:
    return [f"warning: {warning}" for warning in table.warnings]


def _in_every_row(table: Table, costs: Sequence[tuple[str, str, float]]) -> list[str]:
    """Return a note with the costs that are the same in every row and so need no column."""
    told = ", ".join(f"{name} {amount(table.rows[0].cost(key), scale)}" for key, name, scale in costs)
    return [f"In every row: {told}."] if told else []


def _setting_fields(table: Table, row: Row, *, unfinished: bool, hide: Collection[str]) -> list[Field]:
    """Return the fields that name the setting and count its runs."""
    fields = [Field(text=value) for value in _values(table, row)] or [Field(text="all runs")]
    fields += [Field(text=str(max(len(cell.values) for cell in row.cells)))] if "n" not in hide else []
    return [*fields, *([Field(text=_run_counts(table, row))] if unfinished else [])]


def _mean(told: Numbers, hide: Collection[str]) -> str:
    return (told.mean or ABSENT) if "std" in hide else told.spread


def _values(table: Table, row: Row) -> list[str]:
    """Return the names of the setting's values."""
    return [table.names.value(key, value) for key, value in zip(table.factors.keys, row.setting, strict=True)]


def _score_fields(
    table: Table, row: Row, shown: Sequence[Sequence[Statistic]], digits: int | None, hide: Collection[str]
) -> list[Field]:
    """Return the fields of the scores, each with its statistics."""
    most = max(len(cell.values) for cell in row.cells)
    fields = []
    for cell, column, own in zip(row.cells, table.columns, shown, strict=True):
        told = numbers(cell, column, digits)
        fewer = f" (n = {told.n})" if len(cell.values) not in (0, most) else ""
        fields.append(Field(text=_mean(told, hide) + fewer, strong=cell.best))
        fields += [each.field(row, cell, told) for each in own]
    return fields


def _pivot(table: Table, digits: int | None, hide: Collection[str]) -> Grid:
    """Return the grid of one score, with the pivot's values as columns and the other factors' values as rows."""
    column = table.columns[0]
    across = table.factors.keys.index(str(table.pivot))
    others = [place for place in range(len(table.factors.keys)) if place != across]
    heads = sorted({row.setting[across] for row in table.rows}, key=lambda head: order((head,)))
    lines: dict[Setting, dict[str, Field]] = {}
    most = max(len(row.cells[0].values) for row in table.rows)
    for row in table.rows:
        told = numbers(row.cells[0], column, digits)
        fewer = f" (n = {told.n})" if told.mean and len(row.cells[0].values) != most else ""
        if _count_finite(table, row) < row.asked:
            fewer = f" ({_run_counts(table, row).partition(' ')[0]} runs)"
        text = f"{_mean(told, hide)}{fewer}{_difference_text(told, hide)}" if told.mean else _run_counts(table, row)
        field = Field(text=text, strong=row.cells[0].best)
        lines.setdefault(tuple(row.setting[place] for place in others), {})[row.setting[across]] = field
    keys = [table.factors.keys[place] for place in others]
    header = [
        *map(table.names.factor, keys),
        *(table.names.words(str(table.pivot), head) for head in heads),
    ]
    return Grid(
        header=header,
        numeric=[place >= len(others) for place in range(len(header))],
        rows=[
            [
                *(Field(text=value) for value in map(table.names.value, keys, line)),
                *(cells.get(head, Field(text=ABSENT)) for head in heads),
            ]
            for line, cells in lines.items()
        ],
        notes=[f"{column.label}; n = {most}.", *table.notes, *_warnings(table)],
        verdict=table.verdict,
    )


def _difference_text(told: Numbers, hide: Collection[str]) -> str:
    """Return the difference to the baseline for a pivot's cell: ` (Δ -1.67, p = 0.033)`."""
    parts = [f"Δ {told.difference}"] if told.difference and "difference" not in hide else []
    if told.p and "p" not in hide:
        parts.append(f"p {told.p}" if told.p.startswith("<") else f"p = {told.p}")
    return f" ({', '.join(parts)})" if parts else ""


def _run_counts(table: Table, row: Row) -> str:
    """Return the number of runs with finite scores of those asked for, and the states of the others.

    An example is `3/5 (1 failed, 1 missing)`.
    """
    statuses = dict.fromkeys(run.record.state for run in row.runs if run.record.status != "finished")
    others = [f"{sum(run.record.state == status for run in row.runs)} {status}" for status in statuses]
    if not_finite := row.count("finished") - _count_finite(table, row):
        others.append(f"{not_finite} not finite")
    if row.missing:
        others.append(f"{len(row.missing)} missing")
    return f"{_count_finite(table, row)}/{row.asked}" + (f" ({', '.join(others)})" if others else "")


def _count_finite(table: Table, row: Row) -> int:
    """Return how many runs are finished and have only finite values for the table's scores."""
    return sum(
        run.record.status == "finished"
        and not any(run_score.is_lost(run, column, table.at) for column in table.columns)
        for run in row.runs
    )


def _sources(table: Table) -> list[str]:
    """Return the sources that are cited, in the order of their letters."""
    return list(dict.fromkeys(figure.source.line() for row in table.rows for figure in row.published))


def _cited(sources: Sequence[str]) -> list[str]:
    return [f"[{_letter(k)}] {line}." for k, line in enumerate(sources)]


def _letter(number: int) -> str:
    """Return the letters for a number: a to z, then aa to az, ba and so on."""
    ahead, own = divmod(number, len(ascii_lowercase))
    return (_letter(ahead - 1) if ahead else "") + ascii_lowercase[own]


def _figure(figure: Figure, sources: Sequence[str]) -> str:
    return f"{printed(figure)} [{_letter(sources.index(figure.source.line()))}]"


def printed(figure: Figure) -> str:
    """Return the figure as it was published. A top1 is shown without the metric's name."""
    spread = f" ± {figure.spread}" if figure.spread else ""
    return f"{'' if figure.metric == 'top1' else f'{figure.metric} '}{figure.value}{spread}"


def amount(value: float | None, scale: float) -> str:
    """Return a cost with three significant digits, or as an integer from 100 on."""
    if value is None:
        return ABSENT
    scaled = value * scale
    return f"{scaled:.0f}" if scaled >= 100 else f"{scaled:.3g}"
