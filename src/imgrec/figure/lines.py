"""Draw learning curves: the mean after each epoch, with a band over seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from imgrec import statistics
from imgrec.errors import UsageError
from imgrec.figure import style
from imgrec.figure.groups import Groups
from imgrec.statistics import Summary
from imgrec.tables import comparable
from imgrec.tables.column import Column
from imgrec.tables.curves import Curves, curves
from imgrec.tables.names import Names

NOTE = "Lines: means over runs after each epoch. Bands: the standard deviation, no further than a share can lie."
_PANEL = 1.45  # smallest width of a panel in inches; fewer are side by side if there is less
_SHAPE = 0.72  # a panel's height divided by its width
_HIGHEST = 2.2  # inches
_AROUND = 0.35  # inches for ticks and their label
_SIDE = 0.55  # inches for ticks and their label at the side
_MOST_PANELS = 24
_MARKS = 6  # on a line
_MARK = 3.4  # points


@dataclass(frozen=True, kw_only=True)
class Line:
    """A setting's means by epoch, in the unit of the score's column."""

    epochs: list[int]
    summaries: list[Summary]


@dataclass(frozen=True, kw_only=True)
class Read:
    """The curves that were read.

    Attributes:
        columns: The scores.
        lines: By place, series and the column's number.
        remarks: As in `Curves`.
        problems: As in `Curves`.
    """

    columns: list[Column]
    lines: dict[tuple[int, int, int], Line]
    remarks: list[str]
    problems: list[str]


def read(groups: Groups, metrics: Sequence[str], split: str | None) -> Read:
    """Read the curves of the settings.

    Args:
        groups: The settings.
        metrics: The metrics.
        split: val or train; None for val if it was logged, else train.

    Raises:
        UsageError: No run has curves, or no run has a requested metric.
    """
    found = {key: curves(row) for key, row in groups.rows.items()}
    often = {name for each in found.values() for name in each.often}
    known = {name for each in found.values() for name in each.values} - often
    problems = [problem for each in found.values() for problem in each.problems]
    if not any(each.files for each in found.values()):
        raise UsageError(
            "--kind curves needs the runs' folders, as records alone have no curves, and found none that can be read"
            f"{f' ({problems[0]})' if problems else ''}; name the folder of the sweep or of the runs"
        )
    split = split or ("val" if any(name.startswith("val ") for name in known) else "train")
    infinite = {name for each in found.values() for name in each.infinite}
    columns = [Column(metric=metric, split=split, protocol="clean") for metric in metrics]
    for column in columns:
        if (name := f"{split} {column.metric}") not in known:
            there = f"there are {', '.join(sorted(known)) or 'none'} (--split, --scores)"
            if name in infinite - often:
                raise UsageError(f"each value of {name} is infinite or NaN, and no curve shows such; {there}")
            raise UsageError(f"no run logged {name} once an epoch; {there}")
    lines = {}
    for (place, series), each in found.items():
        for number, column in enumerate(columns):
            by_epoch = each.values.get(f"{split} {column.metric}", {})
            if by_epoch:
                lines[place, series, number] = _line(by_epoch, column.scale)
    remarks = [remark for each in found.values() for remark in each.remarks]
    first, *others = groups.rows.values()
    for column in columns:
        if not all(comparable.is_comparable(first, row, column) for row in others):
            name = f"{column.split} {column.metric}"
            remarks.append(f"{name} does not compare between settings of different data or losses")
    return Read(columns=columns, lines=lines, remarks=remarks + _incomplete(groups, found, lines), problems=problems)


def _line(by_epoch: dict[int, list[float]], scale: float) -> Line:
    epochs = sorted(by_epoch)
    return Line(
        epochs=epochs,
        summaries=[statistics.summarise([value * scale for value in by_epoch[epoch]]) for epoch in epochs],
    )


def _incomplete(
    groups: Groups, found: dict[tuple[int, int], Curves], lines: dict[tuple[int, int, int], Line]
) -> list[str]:
    """Return remarks on runs without curves, and on settings whose curves end at different epochs."""
    told = []
    for (place, series), row in groups.rows.items():
        name = groups.name(place, series)
        if (lacking := len(row.runs) - found[place, series].files) > 0:
            told.append(f"without curves: {lacking} of {len(row.runs)} runs of {name}")
        counts = {s.n for (p, q, _), line in lines.items() if (p, q) == (place, series) for s in line.summaries}
        if len(counts) > 1:
            told.append(f"the curves of {name} are means of {min(counts)} to {max(counts)} runs, as some end earlier")
    return told


def beyond(groups: Groups, found: Read, limits: tuple[float, float] | None) -> list[str]:
    """Return a remark on the settings whose curves leave the limits."""
    if limits is None:
        return []
    told = [
        groups.name(place, series)
        for (place, series, _), line in found.lines.items()
        if not all(limits[0] <= summary.mean <= limits[1] for summary in line.summaries)
    ]
    return [f"beyond the limits in some epochs: {'; '.join(told)}"] if told else []


def draw(groups: Groups, found: Read, names: Names, width: float, limits: tuple[float, float] | None = None) -> Figure:
    """Draw a panel for each place and score, with a line for each series.

    Args:
        groups: The settings.
        found: The curves.
        names: Names for print.
        width: In inches.
        limits: Of the scores' axes.

    Raises:
        UsageError: There are too many panels.
    """
    spots = [(number, place) for number in range(len(found.columns)) for place in range(len(groups.places))]
    if len(spots) > _MOST_PANELS:
        raise UsageError(
            f"--kind curves has room for {_MOST_PANELS} panels, and these runs take {len(spots)}; choose some with"
            " --where, or another --colour"
        )
    # a score's panels are side by side; if each score has one panel, the scores are side by side
    block = len(groups.places) if len(groups.places) > 1 else len(found.columns)
    across = style.across(block, int(width / _PANEL))
    figure = Figure(figsize=(width, 1.0), layout="constrained")
    handles = [Line2D([], [], **_look(series)) for series in range(len(groups.series))]
    top = style.legend(figure, handles, groups.series, groups.title) if groups.is_coloured else style.MARGIN
    height = min(_HIGHEST, _SHAPE * width / across)
    titles = [style.wrapped(name, (width - _SIDE) / across - 0.1) if name else "" for name in groups.places]
    heading = max(style.height_of(title) if title else 0.0 for title in titles)
    down = len(spots) // block * -(-block // across)
    figure.set_figheight(top + down * (height + heading + _AROUND))
    first: dict[int, Axes] = {}
    for k, (number, place) in enumerate(spots):
        before, at = divmod(k, block)
        row, column = divmod(at, across)
        axes = figure.add_subplot(down, across, (before * -(-block // across) + row) * across + column + 1)
        for series in range(len(groups.series)):
            if (line := found.lines.get((place, series, number))) is not None:
                _draw_line(axes, line, series, most=math.inf if found.columns[number].scale == 1 else 100.0)
        axes.set_title(titles[place])
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=list(style.STEPS)))
        axes.grid(axis="y")
        if limits is not None:
            axes.set_ylim(limits)
        if number in first:
            axes.sharey(first[number])
        first.setdefault(number, axes)
        if column and len(groups.places) > 1:
            axes.tick_params(axis="y", labelleft=False, length=0)
        else:
            axes.set_ylabel(style.wrapped(names.score(found.columns[number]), height))
        if at + across >= block:
            axes.set_xlabel("Epoch")
    return figure


def _draw_line(axes: Axes, line: Line, series: int, most: float) -> None:
    colour = style.COLOURS[series]
    means = [summary.mean for summary in line.summaries]
    spreads = [summary.std or 0.0 for summary in line.summaries]
    low = [max(0.0, mean - spread) for mean, spread in zip(means, spreads, strict=True)]
    high = [min(most, mean + spread) for mean, spread in zip(means, spreads, strict=True)]
    if any(spreads):
        axes.fill_between(line.epochs, low, high, color=colour, alpha=0.15, linewidth=0)
    step = max(1, len(means) // _MARKS)
    axes.plot(line.epochs, means, markevery=(series % step, step), **_look(series))


def _look(series: int) -> dict[str, Any]:
    return {"linestyle": style.DASHES[series], **style.mark(series, size=_MARK)}
