"""Write a table as Markdown, LaTeX (booktabs) or CSV, with the same numbers in each. Imports no torch."""

import csv
import io
import re
from collections.abc import Sequence

from imgrec.tables import latex
from imgrec.tables.factors import ABSENT
from imgrec.tables.grid import COSTS, Grid, amount, grid, printed
from imgrec.tables.layout import Layout
from imgrec.tables.numbers import numbers
from imgrec.tables.sensitivity import Sensitivity
from imgrec.tables.table import Table
from imgrec.untrusted_text import for_spreadsheet

FORMATS = ("markdown", "latex", "csv")


def render(table: Table, form: str, *, digits: int | None = None, layout: Layout | None = None) -> str:
    """Return the table's text.

    Args:
        table: The table.
        form: markdown, latex or csv.
        digits: Decimal places; None for 2 with percent and 4 with losses.
        layout: Which columns are shown, and LaTeX's caption and label.
    """
    layout = layout or Layout()
    match form:
        case "markdown":
            return "\n".join([_markdown(grid(table, digits, layout.hide)), *map(_tuning, table.tunings)])
        case "latex":
            return latex.render(grid(table, digits, layout.hide), layout)
        case "csv":
            return _csv(table, digits)
        case _:
            raise ValueError(f"form must be one of {', '.join(FORMATS)}, got {form!r}")


def _markdown(texts: Grid) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    rule = ["---:" if numeric else "---" for numeric in texts.numeric]
    rows = [[f"**{_cell(f.text)}**" if f.strong else _cell(f.text) for f in row] for row in texts.rows]
    lines = [
        _marked_down(texts.verdict),
        "",
        line(list(map(_cell, texts.header))),
        line(rule),
        *map(line, rows),
        "",
        *(f"- {_marked_down(note)}" for note in texts.notes),
    ]
    return "\n".join(lines) + "\n"


def _tuning(found: Sensitivity) -> str:
    """Return what a sweep tuned: a row for each choice, a column for each value; the chosen value is bold."""

    def shown(choice: str, value: str) -> str:
        tried = found.tried(choice, value)
        if tried is None:
            return ABSENT
        return f"**{tried.text}**" if tried.chosen else tried.text

    lines = [
        f"{_marked_down(found.title)} (chosen: bold)",
        "",
        f"| {_cell(found.axis)} | {' | '.join(map(_cell, found.values))} |",
        f"| --- |{' ---: |' * len(found.values)}",
        *(
            f"| {_cell(choice)} | {' | '.join(shown(choice, value) for value in found.values)} |"
            for choice in found.choices
        ),
    ]
    return "\n".join(lines) + "\n"


_MARKUP = re.compile(r"<(?=[A-Za-z/!?])|(?<=\])(?=[(:\[])|`")  # HTML, links and images, code


def _marked_down(text: str) -> str:
    """Return the text with Markdown's markup escaped."""
    return _MARKUP.sub(lambda found: f"\\{found[0]}", text)


def _cell(text: str) -> str:
    """Return the text escaped as by `_marked_down`, for a cell of a table."""
    return re.sub(r"(\\*)\|", lambda found: f"{found[1] * 2}\\|", _marked_down(text))


# the name of a column in CSV, and the attribute of Numbers that it shows
_CSV = {name: name for name in ("mean", "std", "n", "low", "high")}
_CSV_OVER_BOTH = {"new images low": "both_low", "new images high": "both_high"}
_CSV_BASELINE = {
    "difference": "difference",
    "difference low": "difference_low",
    "difference high": "difference_high",
    "test": "test",
    "p": "exact_p",
    "pairs": "pairs",
    "correlation": "correlation",
    "p paired": "p_paired",
    "p Welch": "p_unpaired",
}
_CSV_BASELINE_OVER_BOTH = {
    "difference new images low": "difference_both_low",
    "difference new images high": "difference_both_high",
    "p new images": "exact_p_both",
}


def _csv(table: Table, digits: int | None) -> str:
    """Return every number in a column of its own and one row for each setting, also for a pivot, without notes.

    p is Holm-corrected over its column; `p paired` and `p Welch` are not.
    """
    cells_of_all = [cell for row in table.rows for cell in row.cells]
    kinds = _CSV | (_CSV_OVER_BOTH if any(cell.over_both for cell in cells_of_all) else {})
    if table.baseline:
        kinds |= _CSV_BASELINE
        if any(cell.difference_over_both for cell in cells_of_all):
            kinds |= _CSV_BASELINE_OVER_BOTH
    header = [for_spreadsheet(table.names.factor(key)) for key in table.factors.keys]
    header += ["finished", "failed", "interrupted", "running", "missing"]
    header += [for_spreadsheet(f"{column.label} {kind}") for column in table.columns for kind in (*kinds, "best")]
    header += [name for _, name, _ in COSTS] + ["published"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for row in table.rows:
        named = zip(table.factors.keys, row.setting, strict=True)
        cells: list[str] = [for_spreadsheet(table.names.value(key, value)) for key, value in named]
        cells += [str(row.count(status)) for status in ("finished", "failed", "interrupted", "running")]
        cells.append(str(len(row.missing)))
        for cell, column in zip(row.cells, table.columns, strict=True):
            told = numbers(cell, column, digits)
            cells += [*(getattr(told, number) for number in kinds.values()), "yes" if cell.best else ""]
        cells += [amount(row.cost(key), scale) if row.cost(key) is not None else "" for key, _, scale in COSTS]
        cells.append(for_spreadsheet("; ".join(f"{printed(figure)} ({figure.source.key})" for figure in row.published)))
        writer.writerow(cells)
    return text.getvalue()
