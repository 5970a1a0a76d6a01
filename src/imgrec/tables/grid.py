"""A table as texts: each number is written once, here, for people and for machines alike. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase

from imgrec.foreign import folded
from imgrec.statistics import LEVEL
from imgrec.tables.column import Column
from imgrec.tables.factors import ABSENT, order, short
from imgrec.tables.published import Figure
from imgrec.tables.table import Cell, Row, Table

COSTS = (("parameters", "parameters", 1.0), ("flops_per_image", "MFLOPs an image", 1e-6), ("seconds", "seconds", 1.0))
"""A cost's name in records, in tables, and what it is multiplied with there."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """A cell as text, and whether it stands out."""

    text: str
    strong: bool = False


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Rows of texts. numeric: the columns to align at the right."""

    header: list[str]
    numeric: list[bool]
    rows: list[list[Field]]
    notes: list[str]


def grid(table: Table, digits: int | None = None) -> Grid:
    """The table as texts for people, each on one line, whatever records and sources hold."""
    made = _pivot(table, digits) if table.pivot else _long(table, digits)
    return Grid(
        header=[folded(name) for name in made.header],
        numeric=made.numeric,
        rows=[[Field(text=folded(field.text), strong=field.strong) for field in row] for row in made.rows],
        notes=[folded(note) for note in made.notes],
    )


@dataclass(frozen=True)
class Numbers:
    """The texts of a cell's numbers; empty where there is none. exact_p: p to three digits, however small."""

    mean: str = ""
    std: str = ""
    n: str = ""
    low: str = ""
    high: str = ""
    difference: str = ""
    difference_low: str = ""
    difference_high: str = ""
    pairs: str = ""
    p: str = ""
    exact_p: str = ""

    @property
    def spread(self) -> str:
        """Mean and deviation, or the mean alone."""
        return f"{self.mean} ± {self.std}" if self.std else self.mean or ABSENT

    @property
    def interval(self) -> str:
        return f"[{self.low}, {self.high}]" if self.low else ABSENT

    @property
    def change(self) -> str:
        """The difference to the baseline, with its interval, and the number of pairs where it is another than n."""
        interval = f" [{self.difference_low}, {self.difference_high}]" if self.difference_low else ""
        fewer = f" (n = {self.pairs})" if self.pairs not in ("", self.n) else ""
        return f"{self.difference}{interval}{fewer}" or ABSENT


def numbers(cell: Cell, column: Column, digits: int | None = None) -> Numbers:
    """The one place in which a cell's numbers become texts."""
    places = digits if digits is not None else 4 if column.scale == 1 else 2

    def plain(value: float | None) -> str:
        return "" if value is None else f"{value:.{places}f}"

    def signed(value: float | None) -> str:
        return "" if value is None else f"{value:+.{places}f}"

    summary, difference = cell.summary, cell.difference
    return Numbers(
        mean=plain(summary.mean) if summary else "",
        std=plain(summary.std) if summary else "",
        n=str(len(cell.values)),
        low=plain(summary.low) if summary else "",
        high=plain(summary.high) if summary else "",
        difference=signed(difference.mean) if difference else "",
        difference_low=signed(difference.low) if difference else "",
        difference_high=signed(difference.high) if difference else "",
        pairs=str(difference.n) if difference else "",
        p=_probability(cell.p),
        exact_p="" if cell.p is None else f"{cell.p:.3g}",
    )


def _probability(p: float | None) -> str:
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _long(table: Table, digits: int | None) -> Grid:
    """A row a setting."""
    unfinished = any(row.count("finished") < len(row.runs) or row.missing for row in table.rows)
    known = [cost for cost in COSTS if any(row.cost(cost[0]) is not None for row in table.rows)]
    same = [cost for cost in known if len(table.rows) > 1 and len({row.cost(cost[0]) for row in table.rows}) == 1]
    costs = [cost for cost in known if cost not in same]
    sources = _sources(table)
    header = [short(key) for key in table.factors.keys] or ["setting"]
    header += ["n", *(["runs"] if unfinished else [])]
    for column in table.columns:
        header += [column.label, f"{100 * (1 - LEVEL):.0f} %"]
        if table.baseline:
            header += [f"Δ {column.label}", "p"]
    header += [*(["published"] if sources else []), *(name for _, name, _ in costs)]
    words = len(table.factors.keys) or 1
    rows = [_row(table, row, digits, unfinished=unfinished, costs=costs, sources=sources) for row in table.rows]
    return Grid(
        header=header,
        numeric=[place >= words and name not in ("runs", "published") for place, name in enumerate(header)],
        rows=rows,
        notes=[*table.notes, *_in_every_row(table, same), *_cited(sources), *_warnings(table)],
    )


def _warnings(table: Table) -> list[str]:
    return [f"warning: {warning}" for warning in table.warnings]


def _in_every_row(table: Table, costs: Sequence[tuple[str, str, float]]) -> list[str]:
    """What needs no column, as it is the same in every row."""
    told = ", ".join(f"{name} {amount(table.rows[0].cost(key), scale)}" for key, name, scale in costs)
    return [f"In every row: {told}."] if told else []


def _row(
    table: Table,
    row: Row,
    digits: int | None,
    *,
    unfinished: bool,
    costs: Sequence[tuple[str, str, float]],
    sources: Sequence[str],
) -> list[Field]:
    fields = [Field(text=value) for value in row.setting] or [Field(text="all runs")]
    counts = [len(cell.values) for cell in row.cells]
    fields.append(Field(text=str(max(counts))))
    if unfinished:
        fields.append(Field(text=_states(row)))
    for cell, column in zip(row.cells, table.columns, strict=True):
        told = numbers(cell, column, digits)
        fewer = f" (n = {told.n})" if len(cell.values) not in (0, max(counts)) else ""
        fields.append(Field(text=told.spread + fewer, strong=cell.best))
        fields.append(Field(text=told.interval))
        if table.baseline:
            fields += [Field(text="baseline" if row.is_baseline else told.change), Field(text=told.p or ABSENT)]
    if sources:
        fields.append(Field(text="; ".join(_figure(figure, sources) for figure in row.published) or ABSENT))
    fields += [Field(text=amount(row.cost(key), scale)) for key, _, scale in costs]
    return fields


def _pivot(table: Table, digits: int | None) -> Grid:
    """One factor's values by row, the pivot's by column, the first score in the cells."""
    column = table.columns[0]
    across = table.factors.keys.index(str(table.pivot))
    others = [place for place in range(len(table.factors.keys)) if place != across]
    heads = sorted({row.setting[across] for row in table.rows}, key=lambda head: order((head,)))
    lines: dict[tuple[str, ...], dict[str, Field]] = {}
    most = max(len(row.cells[0].values) for row in table.rows)
    for row in table.rows:
        told = numbers(row.cells[0], column, digits)
        fewer = f" (n = {told.n})" if told.mean and len(row.cells[0].values) != most else ""
        field = Field(text=(told.spread + fewer) if told.mean else _states(row), strong=row.cells[0].best)
        lines.setdefault(tuple(row.setting[place] for place in others), {})[row.setting[across]] = field
    name = short(str(table.pivot))
    header = [*(short(table.factors.keys[place]) for place in others), *(f"{name}={head}" for head in heads)]
    return Grid(
        header=header,
        numeric=[place >= len(others) for place in range(len(header))],
        rows=[
            [*(Field(text=value) for value in line), *(cells.get(head, Field(text=ABSENT)) for head in heads)]
            for line, cells in lines.items()
        ],
        notes=[f"{column.label}; n = {most}.", *table.notes, *_warnings(table)],
    )


def _states(row: Row) -> str:
    """How many runs there are of each status, those that are missing included."""
    statuses = dict.fromkeys(run.record.status for run in row.runs)
    parts = [f"{row.count(status)} {status}" for status in statuses]
    return ", ".join([*parts, *([f"{len(row.missing)} missing"] if row.missing else [])])


def _sources(table: Table) -> list[str]:
    """The sources that are cited, in the order of their letters."""
    return list(dict.fromkeys(figure.source.line() for row in table.rows for figure in row.published))


def _cited(sources: Sequence[str]) -> list[str]:
    return [f"[{_letter(k)}] {line}." for k, line in enumerate(sources)]


def _letter(number: int) -> str:
    """Letters from a to z, then aa to az, ba and so on."""
    ahead, own = divmod(number, len(ascii_lowercase))
    return (_letter(ahead - 1) if ahead else "") + ascii_lowercase[own]


def _figure(figure: Figure, sources: Sequence[str]) -> str:
    return f"{printed(figure)} [{_letter(sources.index(figure.source.line()))}]"


def printed(figure: Figure) -> str:
    """The figure as it was published; top1 without its name."""
    spread = f" ± {figure.spread}" if figure.spread else ""
    return f"{'' if figure.metric == 'top1' else f'{figure.metric} '}{figure.value}{spread}"


def amount(value: float | None, scale: float) -> str:
    """A cost, with as many digits as tell something."""
    if value is None:
        return ABSENT
    scaled = value * scale
    return f"{scaled:.0f}" if scaled >= 100 else f"{scaled:.3g}"
