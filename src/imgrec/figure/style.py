"""Define the style of figures in print: colours, marks, fonts, and the size of texts. Sizes in inches unless stated."""

import io
import itertools
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import matplotlib
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath

from imgrec import __version__
from imgrec.tables.table import Table
from imgrec.untrusted_text import folded, visible

# Okabe & Ito 2008, "Color universal design", without yellow, which has too little contrast on white paper.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")  # the first ones distinguish the colours in grey too
DASHES: tuple[Any, ...] = (
    "-",
    (0, (4, 1.5)),
    (0, (1, 1)),
    (0, (5, 1, 1, 1)),
    (0, (7, 2)),
    (0, (2, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
)
MOST_SERIES = len(COLOURS)
SIZE = 8  # points, of every text
LINE = 0.14  # from one line of text to the next
MARGIN = 0.05  # inches above panels without a legend
_POINTS = 72  # an inch
_HANDLE, _GAP = 0.30, 0.20  # of a legend's entry: its mark, and the space to the next entry
THIN: dict[str, Any] = {"linewidth": 0.5, "markersize": 3.0, "markeredgewidth": 0.5, "zorder": 1.9}  # outer intervals
USUAL = 3.8  # points of a mark
STEPS = (1, 2, 2.5, 5, 10)  # of ticks
_Entry = TypeVar("_Entry")
_KINDS = {".pdf": "pdf", ".svg": "svg", ".png": "png"}
ENDINGS = tuple(_KINDS)

_SETTINGS: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],  # part of matplotlib, so a figure is the same everywhere
    "font.size": SIZE,
    **{f"{name}.labelsize": SIZE for name in ("axes", "xtick", "ytick")},
    "axes.titlesize": SIZE,
    "axes.titlepad": 3.0,
    "axes.labelpad": 3.0,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    **{
        f"{axis}tick.major.{name}": value
        for axis in "xy"
        for name, value in (("width", 0.6), ("size", 2.5), ("pad", 2.5))
    },
    **{f"{axis}tick.minor.{name}": value for axis in "xy" for name, value in (("width", 0.4), ("size", 1.5))},
    "legend.fontsize": SIZE,
    "legend.title_fontsize": SIZE,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.handletextpad": 0.5,
    "legend.columnspacing": 1.2,
    "legend.labelspacing": 0.25,
    "legend.borderaxespad": 0.1,
    "legend.borderpad": 0.1,
    "lines.linewidth": 1.1,
    "lines.markersize": USUAL,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
    "figure.constrained_layout.wspace": 0.03,
    "text.parse_math": False,  # a name may contain a dollar sign
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # TrueType, embedded: publishers require it, and it can be searched
    "svg.fonttype": "path",  # the font need not be installed
    "svg.hashsalt": "imgrec",  # otherwise ids inside the file differ each time
}
_METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"Creator": f"imgrec {__version__}", "CreationDate": None},
    "svg": {"Creator": f"imgrec {__version__}", "Date": None},
    "png": {"Software": f"imgrec {__version__}"},
}


@contextmanager
def in_print() -> Iterator[None]:
    """Apply the settings for print, whatever the user's matplotlibrc says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", matplotlib.MatplotlibDeprecationWarning)  # of settings at their defaults
        settings: Any = {key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"}
    with matplotlib.rc_context(settings | _SETTINGS):
        yield


def written(figure: Figure, ending: str) -> tuple[bytes, list[str]]:
    """Return the figure's file, and notes on it. The same figure gives the same bytes, as no file contains a date."""
    kind, file = _KINDS[ending], io.BytesIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(file, format=kind, metadata=_METADATA[kind])
    return file.getvalue(), _font_warnings([str(warning.message) for warning in caught])


def _font_warnings(warned: Sequence[str]) -> list[str]:
    """Return matplotlib's warnings: characters that the font lacks in one sentence, other warnings unchanged."""
    found = [re.match(r"Glyph (\d+) ", line) for line in warned]
    lacking = "".join(dict.fromkeys(chr(int(match[1])) for match in found if match))
    said = [f"the figure's font lacks {visible(lacking)}; --names gives other names"] if lacking else []
    return [*said, *dict.fromkeys(line for line, match in zip(warned, found, strict=True) if not match)]


@cache
def width_of(text: str) -> float:
    """Return the width of a line of text."""
    if not text.strip():
        return 0.0
    path = TextPath((0, 0), text, size=SIZE, prop=FontProperties(family=_SETTINGS["font.family"]))
    return float(path.get_extents().width) / _POINTS


def wrapped(text: str, room: float) -> str:
    """Break the text into lines that are no wider than `room`.

    It is broken at blanks; a single word that is too long is broken at punctuation, or else anywhere.
    """
    lines = [""]
    for word in folded(text).split():
        if width_of(joined := f"{lines[-1]} {word}".strip()) <= room:
            lines[-1] = joined
            continue
        lines += [""] if lines[-1] else []
        for piece in re.findall(r"[^_\-/,=.]*[_\-/,=.]?", word):
            if width_of(lines[-1] + piece) <= room:
                lines[-1] += piece
                continue
            lines += [""] if lines[-1] else []
            for letter in piece:
                lines += [""] if lines[-1] and width_of(lines[-1] + letter) > room else []
                lines[-1] += letter
    return "\n".join(lines) or " "


def height_of(text: str) -> float:
    """Return the height of a text of one or more lines, with the space to the next."""
    return LINE * (text.count("\n") + 1)


def over_both(table: Table) -> list[str]:
    """Return a note on what the outer intervals are, if there are any."""
    if not any(cell.over_both for row in table.rows for cell in row.cells):
        return []
    return ["Thin lines with ends: 95 % intervals of new seeds on new images; of one run, of that run on new images."]


def across(panels: int, most: int) -> int:
    """Return how many panels to put side by side, so that rows are as even as possible. most: the number that fits."""
    rows = -(-panels // max(1, most))
    return -(-panels // rows)


def mark(number: int, *, size: float = 0.0) -> dict[str, Any]:
    """Return the colour and marker of a series. size: in points; 0 for the default."""
    marker = MARKERS[number]
    is_thin = marker in ("P", "X")  # a white edge would hide these thin marks
    return {
        "color": COLOURS[number],
        "marker": marker,
        "markersize": (size or USUAL) * (1.25 if is_thin else 1.0),
        "markeredgecolor": COLOURS[number] if is_thin else "white",
        "markeredgewidth": 0.0 if is_thin else 0.3,
    }


def legend(figure: Figure, handles: Sequence[Line2D], names: Sequence[str], title: str | None) -> float:
    """Put a legend above the axes, in as many columns as fit. Returns its height."""
    width = float(figure.get_figwidth())
    texts = [wrapped(name, width - _HANDLE - _GAP) for name in names]
    widths = [max(width_of(line) for line in text.split("\n")) + _HANDLE + _GAP for text in texts]
    fitting = [k for k in range(2, len(texts) + 1) if sum(max(column) for column in _columns(widths, k)) <= width]
    columns = max(fitting, default=1)
    heading = wrapped(title, width - _GAP) if title else None
    figure.legend(handles, texts, title=heading, ncols=columns, loc="outside upper center")
    height = max(sum(map(height_of, column)) for column in _columns(texts, columns))
    return height + (height_of(heading) if heading else 0.0) + 0.08


def _columns(entries: Sequence[_Entry], count: int) -> list[Sequence[_Entry]]:
    """Split the entries into a legend's columns; the first columns are longer if the number does not divide evenly."""
    rows, longer = divmod(len(entries), count)
    ends = [0, *itertools.accumulate(rows + (k < longer) for k in range(count))]
    return [entries[low:high] for low, high in itertools.pairwise(ends)]


def plain_ticks(value: float, _: int) -> str:
    """Format a cost on its axis: `300`, `10k`, `1.2M`."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= (unit if unit > 1e3 else 1e4):
            return f"{value / unit:g}{letter}"
    return f"{value:g}"
