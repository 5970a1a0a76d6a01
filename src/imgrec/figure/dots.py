"""Draw the settings side by side: a dot for each run, the mean, and its interval."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import offset_copy

from imgrec.figure import style
from imgrec.figure.groups import Groups
from imgrec.tables.column import Column
from imgrec.tables.names import Names
from imgrec.tables.table import Row, Table

_NOTE = "Small dots: single runs. Large marks: their means. Bars: 95 % intervals of new seeds on these images."
_LANE, _ALONE = 0.16, 0.2  # inches for a setting: among others of its place, and by itself
_BETWEEN = 0.06  # inches between places
_BELOW = 0.058  # inches from the mean to its runs
_TICKS = 0.28  # inches for ticks and the space between panels
_SIDES = 0.15  # inches beside names and panels
_LABELS = 0.42  # share of the width that names may take
_LEAST = 1.0  # smallest width of a panel in inches; panels are stacked if there is less


def draw(table: Table, groups: Groups, names: Names, width: float, limits: tuple[float, float] | None = None) -> Figure:
    """Draw a panel for each score, with a line for each setting.

    Args:
        table: The table.
        groups: Its settings.
        names: Names for print.
        width: In inches.
        limits: Of the scores' axes; arrows mark means outside of them.
    """
    figure = Figure(figsize=(width, 1.0), layout="constrained")
    labels = [style.wrapped(name, _LABELS * width) for name in groups.places]
    tops, lanes, height = _places(groups, labels)
    across = style.across(len(table.columns), int(width * (1 - _LABELS) / _LEAST))
    down = -(-len(table.columns) // across)
    top = style.legend(figure, *_legend(groups)) if groups.is_coloured else style.MARGIN
    room = (width - max(map(style.width_of, "\n".join(labels).split("\n"))) - _SIDES) / across
    captions = [style.wrapped(names.score(column), room) for column in table.columns]
    figure.set_figheight(top + down * (height + _TICKS + max(map(style.height_of, captions))))
    grid = figure.subplots(down, across, squeeze=False)
    for number, axes in enumerate(grid.flat):
        if number >= len(table.columns):
            axes.remove()
            continue
        for (place, series), row in groups.rows.items():
            _draw_lane(axes, row, number, lanes[place, series], series, table.columns[number])
            if (told := _incomplete_count(row, number)) is not None:
                axes.annotate(
                    told,
                    (1, lanes[place, series] + _BELOW / 2),
                    xycoords=axes.get_yaxis_transform(),
                    xytext=(3, 0),
                    textcoords="offset points",
                    va="center",
                    color="#555555",
                )
        if limits is not None:
            axes.set_xlim(limits)
            _point_beyond(figure, axes, groups, number, lanes, limits)
        axes.set_ylim(height, 0)
        axes.set_yticks(tops, labels if number % across == 0 else [])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_xlabel(captions[number])
        axes.xaxis.set_major_locator(MaxNLocator(nbins=max(2, int(room / 0.4)), steps=list(style.STEPS)))
        for line in _dividers(groups, labels):
            axes.axhline(line, color="#dddddd", linewidth=0.5)
    return figure


def notes(table: Table) -> list[str]:
    """Return notes on what the figure shows."""
    counts = sorted({len(cell.values) for row in table.rows for cell in row.cells if cell.values})
    units = "runs" if table.rows[0].levels == 1 else "seeds"
    told = f"n = {' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} {units} a setting."
    lacking = any(_incomplete_count(row, number) for row in table.rows for number in range(len(table.columns)))
    note = _NOTE if table.rows[0].levels == 1 else _NOTE.replace("single runs", "a seed's mean over its runs")
    return [
        note,
        *style.over_both(table),
        told,
        *(["At the right: runs with a score of those that were asked for."] if lacking else []),
    ]


def _incomplete_count(row: Row, number: int) -> str | None:
    """Return how many of the setting's runs have the score; None if all have it."""
    scored = row.scored(row.cells[number])
    return f"{scored}/{row.asked}" if scored < row.asked else None


def _height(groups: Groups, labels: list[str], place: int) -> float:
    count = sum(1 for at, _ in groups.rows if at == place)
    own = _ALONE if count == 1 else _LANE * count
    return max(own, style.height_of(labels[place])) + _BETWEEN


def _places(groups: Groups, labels: list[str]) -> tuple[list[float], dict[tuple[int, int], float], float]:
    """Return the middle of each place, the position of each setting's mean, and the total height.

    All are in inches from the top.
    """
    middles, lanes, top = [], {}, _BETWEEN
    for place in range(len(labels)):
        height = _height(groups, labels, place)
        middle = top + height / 2
        middles.append(middle)
        own = sorted(series for at, series in groups.rows if at == place)
        for k, series in enumerate(own):
            lanes[place, series] = middle + _LANE * (k - (len(own) - 1) / 2) - _BELOW / 2
        top += height
    return middles, lanes, top


def _dividers(groups: Groups, labels: list[str]) -> list[float]:
    """Return the positions of lines between places; none unless several settings share a place."""
    if not groups.is_coloured:
        return []
    heights = [_height(groups, labels, place) for place in range(len(labels))]
    return [_BETWEEN + sum(heights[:k]) for k in range(1, len(heights))]


def _draw_lane(axes: Axes, row: Row, number: int, at: float, series: int, column: Column) -> None:
    cell = row.cells[number]
    colour = style.COLOURS[series]
    values = list(cell.values.values())
    if cell.summary is None:
        return
    if cell.over_both is not None:
        ends = [cell.over_both.low * column.scale, cell.over_both.high * column.scale]
        axes.plot(ends, [at, at], color=colour, **style.THIN, marker="|")
    axes.plot(values, [at + _BELOW] * len(values), "o", color=colour, markersize=2.4, markeredgewidth=0, alpha=0.55)
    if cell.summary.low is not None and cell.summary.high is not None:
        axes.plot([cell.summary.low, cell.summary.high], [at, at], "-", color=colour, solid_capstyle="butt")
    axes.plot([cell.summary.mean], [at], **style.mark(series))


def _point_beyond(
    figure: Figure,
    axes: Axes,
    groups: Groups,
    number: int,
    lanes: dict[tuple[int, int], float],
    limits: tuple[float, float],
) -> None:
    """Draw an arrow at the limit beyond which a setting's mean lies."""
    for key, row in groups.rows.items():
        summary = row.cells[number].summary
        if summary is not None and not limits[0] <= summary.mean <= limits[1]:
            end, arrow = (limits[0], "<") if summary.mean < limits[0] else (limits[1], ">")
            inside = offset_copy(axes.transData, figure, x=3 if arrow == "<" else -3, units="points")
            axes.plot([end], [lanes[key]], arrow, color=style.COLOURS[key[1]], transform=inside)


def _legend(groups: Groups) -> tuple[list[Line2D], list[str], str | None]:
    handles = [Line2D([], [], **style.mark(k)) for k in range(len(groups.series))]
    return handles, groups.series, groups.title
