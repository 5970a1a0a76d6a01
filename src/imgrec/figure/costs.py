"""Draw score against cost: a mark for each setting, with the interval of its mean."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from imgrec.errors import UsageError
from imgrec.figure import style
from imgrec.figure.groups import Groups
from imgrec.tables.grid import COSTS as _OF_RECORDS
from imgrec.tables.names import Names
from imgrec.tables.table import Table

NOTE = "Marks: means over runs of score and cost. Bars: the scores' 95 % intervals of new seeds on these images."
COSTS = {"seconds": "Seconds a run", "flops": "MFLOPs an image, forward", "parameters": "Parameters"}
_RECORDED = {"seconds": "seconds", "flops": "flops_per_image", "parameters": "parameters"}
_SCALES = {name: scale for name, _, scale in _OF_RECORDS}
_WIDE = 8.0  # ratio of the largest cost to the smallest from which the axis is logarithmic
_PANEL = 2.6  # smallest width of a panel in inches; panels are stacked if there is less
_RATIO = 0.7  # a panel's height divided by its width
_HIGHEST = 2.6  # inches
_AXIS = 0.42  # inches for ticks and their label
_SHAPES = style.MARKERS[1:]  # shapes of places; circles are for series in the legend
_FILLINGS = ("full", "none", "left", "bottom", "right", "top")  # fillings of series, which distinguish them in grey
MOST = 2 * len(style.MARKERS)  # the number of settings that marks can distinguish


def draw(
    table: Table, groups: Groups, cost: str, names: Names, width: float, limits: tuple[float, float] | None = None
) -> tuple[Figure, list[str]]:
    """Draw a panel for each score.

    Args:
        table: The table.
        groups: Its settings.
        cost: Of COSTS.
        names: Names for print.
        width: In inches.
        limits: Of the scores' axes.

    Returns:
        The figure, and notes on what is not in it.

    Raises:
        UsageError: No setting has both score and cost, or there are more settings than marks.
    """
    placed = {key: row.cost(_RECORDED[cost]) for key, row in groups.rows.items()}
    known = {key: value * _SCALES[_RECORDED[cost]] for key, value in placed.items() if value is not None}
    drawn = [key for key in groups.rows if key in known and any(cell.summary for cell in groups.rows[key].cells)]
    if not drawn:
        raise UsageError(f"--cost {cost} needs finished runs whose records have it, and there is none; choose another")
    if len(drawn) > MOST:
        raise UsageError(
            f"--kind cost tells {MOST} settings apart by their marks, and there are {len(drawn)}; choose some with"
            " --where"
        )
    across = style.across(len(table.columns), int(width / _PANEL))
    down = -(-len(table.columns) // across)
    figure = Figure(figsize=(width, 1.0), layout="constrained")
    marks, told = _marks(groups, drawn)
    handles = [Line2D([], [], linestyle="none", **mark) for mark in told.values()]
    top = style.legend(figure, handles, list(told), None) if len(drawn) > 1 else style.MARGIN
    height = min(_HIGHEST, _RATIO * width / across)
    figure.set_figheight(top + down * (height + _AXIS))
    grid = figure.subplots(down, across, squeeze=False)
    for number, axes in enumerate(grid.flat):
        if number >= len(table.columns):
            axes.remove()
            continue
        for key in drawn:
            cell = groups.rows[key].cells[number]
            summary = cell.summary
            if summary is None:
                continue
            if cell.over_both is not None:
                scale = table.columns[number].scale
                ends = [cell.over_both.low * scale, cell.over_both.high * scale]
                axes.plot([known[key]] * 2, ends, color=marks[key]["color"], **style.THIN, marker="_")
            if summary.low is not None and summary.high is not None:
                axes.plot(
                    [known[key]] * 2,
                    [summary.low, summary.high],
                    "-",
                    color=marks[key]["color"],
                    linewidth=0.9,
                    zorder=2,
                )
            axes.plot([known[key]], [summary.mean], linestyle="none", zorder=3, **marks[key])
        if limits is not None:
            axes.set_ylim(limits)
        _finish(
            axes,
            [known[key] for key in drawn],
            COSTS[cost],
            style.wrapped(names.score(table.columns[number]), height),
            width / across,
        )
    left_out = [groups.name(*key) for key in groups.rows if key not in drawn]
    return figure, [f"not drawn, as no finished run of it has score and cost: {name}" for name in left_out]


def _finish(axes: Axes, costs: list[float], label: str, score: str, width: float) -> None:
    axes.set_xlabel(label)
    axes.set_ylabel(score)
    axes.grid(axis="both")
    axes.margins(x=0.08, y=0.08)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=list(style.STEPS)))
    if min(costs) > 0 and max(costs) / min(costs) >= _WIDE:
        axes.set_xscale("log")
        wide = max(costs) / min(costs) >= _WIDE**2
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(style.plain_ticks))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=max(2, int(width / 0.6)), steps=list(style.STEPS)))
        axes.xaxis.set_major_formatter(FuncFormatter(style.plain_ticks))


Mark = dict[str, Any]


def _marks(groups: Groups, drawn: Sequence[tuple[int, int]]) -> tuple[dict[tuple[int, int], Mark], dict[str, Mark]]:
    """Return each setting's mark, and the marks of the legend.

    If there are enough of them, each series has a colour and a filling, and each place has a shape. Otherwise each
    setting has its own mark.
    """
    places, series = sorted({place for place, _ in drawn}), sorted({series for _, series in drawn})
    if len(series) > 1 and len(places) > 1 and len(series) <= len(_FILLINGS) and len(places) <= len(_SHAPES):
        marks = {(p, s): _mark(_SHAPES[places.index(p)], style.COLOURS[s], _FILLINGS[s]) for p, s in drawn}
        told = {groups.series[s]: _mark("o", style.COLOURS[s], _FILLINGS[s]) for s in series}
        return marks, told | {groups.places[p]: _mark(_SHAPES[k], "#555555", "full") for k, p in enumerate(places)}
    marks = {
        key: _mark(
            style.MARKERS[number % len(style.MARKERS)],
            style.COLOURS[number % style.MOST_SERIES],
            "none" if number >= len(style.MARKERS) else "full",
        )
        for number, key in enumerate(drawn)
    }
    return marks, {groups.name(*key): mark for key, mark in marks.items()}


def _mark(shape: str, colour: str, filling: str) -> Mark:
    return {
        "color": colour,
        "marker": shape,
        "markersize": 5.5 if shape in ("P", "X") else 5.0,
        "fillstyle": "full" if filling == "none" else filling,
        "markerfacecolor": "white" if filling == "none" else colour,
        "markerfacecoloralt": "white",
        "markeredgecolor": colour,
        "markeredgewidth": 0.8,
    }
