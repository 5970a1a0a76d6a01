"""Carry out `imgrec figure`: turn the command's words into a file with a figure for print. Imports no torch."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from imgrec.config.fields import choice
from imgrec.errors import RunError, UsageError, shown
from imgrec.figure import costs, dots, lines, style
from imgrec.figure.groups import Groups, group
from imgrec.tables import command, published
from imgrec.tables.gather import gather
from imgrec.tables.table import Request, Table
from imgrec.text_files import write_result

KINDS = ("dots", "curves", "cost")
WIDTHS = {"column": 3.25, "page": 6.75}
"""Widths in inches, of one column and of two, as in ICML's style and, within a few hundredths, IEEE's and CVPR's."""
_LEAST_WIDE = 2.0  # inches; in less, names leave no room for data
_MOST_WIDE = 40.0  # inches; matplotlib's PNG has at most 65 536 pixels
_PAGE = 9.0  # height in inches that a page has for a figure
_MOST_SETTINGS = 200  # settings in a figure


@dataclass(frozen=True, kw_only=True)
class Written:
    """The result of the command.

    Attributes:
        path: The figure's file.
        notes: What a caption must say.
        problems: Files that could not be read.
    """

    path: Path
    verdict: str
    notes: list[str]
    problems: list[str]


@dataclass(frozen=True, kw_only=True)
class Look:
    """How the figure looks.

    Attributes:
        kind: Of KINDS.
        width: In inches.
        colour: The factor that colours distinguish; `none`; or None for the most suitable factor.
        cost: Of costs.COSTS.
        split: Of curves; None for val, or train if there is no val.
        limits: Of the score's axis; None for all values.
    """

    kind: str
    width: float
    colour: str | None
    cost: str
    split: str | None = None
    limits: tuple[float, float] | None = None


def look(
    *,
    kind: str,
    width: str,
    colour: str | None,
    cost: str,
    split: str | None,
    limits: str | None = None,
) -> Look:
    """Return the look that a command's words describe.

    Raises:
        UsageError: A word has no valid meaning.
    """
    choice("--kind", kind, KINDS)
    choice("--cost", cost, tuple(costs.COSTS))
    if kind == "curves" and split is not None:
        choice("--split", split, ("val", "train"))
    return Look(
        kind=kind,
        width=_inches(width),
        colour=colour,
        cost=cost,
        split=split,
        limits=_ends(limits) if limits is not None else None,
    )


def _inches(word: str) -> float:
    try:
        width = WIDTHS[word] if word in WIDTHS else float(word)
    except ValueError:
        width = 0.0
    if not _LEAST_WIDE <= width <= _MOST_WIDE:  # also for NaN
        raise UsageError(
            f"--width must be {' or '.join(WIDTHS)}, or inches from {_LEAST_WIDE:g} to {_MOST_WIDE:g}, got {word!r}"
        )
    return width


def _ends(words: str) -> tuple[float, float]:
    try:
        low, high = (float(word) for word in words.split(","))
    except ValueError:
        low = high = math.nan
    if not -math.inf < low < high < math.inf:  # also for NaN
        raise UsageError(f"--limits must be LOW,HIGH with LOW < HIGH, got {words!r}; such as --limits 90,100")
    return low, high


def figure(places: Sequence[Path], asked: Request, wanted: Look, output: Path) -> Written:
    """Draw the runs below the places. The request has the same form as for `imgrec table`, and gives the same numbers.

    Raises:
        UsageError: The request names something that the runs do not have.
        RunError: The file cannot be written.
    """
    ending = output.suffix.lower()
    if ending not in style.ENDINGS:
        known = ", ".join(style.ENDINGS)
        raise UsageError(f"-o {shown(output)} must end in one of {known}, got {ending!r}; such as -o figure.pdf")
    found = gather(places)
    if not found.runs:
        raise RunError(f"none of the {len(found.problems)} records could be read, the first: {found.problems[0]}")
    metrics = asked.scores
    if wanted.kind == "curves" and asked.average:
        raise UsageError(
            f"--kind curves draws settings by themselves, got --average {','.join(asked.average)}; choose with --where"
        )
    if wanted.kind == "curves":  # a logged metric needs no score of the same name
        asked = dataclasses.replace(asked, scores=Request().scores)
    table = command.of(found, asked, published.NONE)
    if len(table.rows) > _MOST_SETTINGS:
        raise UsageError(
            f"a figure has room for {_MOST_SETTINGS} settings, got {len(table.rows)}; choose some with --where"
        )
    axes = len(metrics) if wanted.kind == "curves" else len(table.columns)
    if wanted.limits is not None and axes > 1:
        words = "--scores names" if axes == len(metrics) else "--scores and --protocol name"
        raise UsageError(f"--limits is of one score's axis, and {words} {axes}; draw a figure for each")
    groups = group(table, wanted.colour, table.names, many=wanted.kind == "curves")
    with style.in_print():
        drawn, notes, problems = _draw(table, groups, metrics, wanted)
        content, said = style.written(drawn, ending)
    write_result(output, content)
    high = float(drawn.get_figheight())
    if high > _PAGE:
        said.append(f"the figure is {high:.1f} inches high, more than a page: --width page or --where make it lower")
    if wanted.kind == "curves":  # their numbers are not those of the table
        said.append("what `imgrec table` says of these runs:")
    warned = [f"warning: {warning}" for warning in table.warnings]
    return Written(
        path=output,
        verdict=table.verdict,
        notes=[*notes, *said, *table.notes, *warned],
        problems=[*found.problems, *table.problems, *problems],
    )


def _draw(table: Table, groups: Groups, metrics: Sequence[str], wanted: Look) -> tuple[Figure, list[str], list[str]]:
    """Return the figure, notes on what it shows, and files that could not be read for it."""
    match wanted.kind:
        case "dots":
            _refuse_empty(table)
            drawn = dots.draw(table, groups, table.names, wanted.width, wanted.limits)
            return drawn, [*dots.notes(table), *_cut_off(table, wanted)], []
        case "curves":
            found = lines.read(groups, metrics, wanted.split)
            drawn = lines.draw(groups, found, table.names, wanted.width, wanted.limits)
            remarks = [*found.remarks, *lines.beyond(groups, found, wanted.limits)]
            return drawn, [lines.NOTE, *remarks], found.problems
        case _:
            _refuse_empty(table)
            drawn, lacking = costs.draw(table, groups, wanted.cost, table.names, wanted.width, wanted.limits)
            return drawn, [costs.NOTE, *style.over_both(table), *lacking, *_cut_off(table, wanted)], []


def _cut_off(table: Table, wanted: Look) -> list[str]:
    """Return a note on the settings that --limits cuts off."""
    if wanted.limits is None:
        return []
    low, high = wanted.limits
    told = []
    for row in table.rows:
        values = row.cells[0].values.values()
        cut = sum(not low <= value <= high for value in values)
        if cut:
            told.append(f"{table.names.setting(table.factors.keys, row.setting)} ({cut} of {len(values)} runs)")
    return [f"beyond the limits: {'; '.join(told)}"] if told else []


def _refuse_empty(table: Table) -> None:
    if not any(cell.summary for row in table.rows for cell in row.cells):
        raise UsageError(
            "a figure of scores needs a finished run, and none of these has finished; wait for one, or see"
            " --kind curves"
        )
