"""Give the report's charts their colours, marks, legends and controls."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import altair as alt

from imgrec.report.context import ReportContext
from imgrec.tables.factors import ABSENT

# Blue, orange, green, magenta, brown, grey. Each has a contrast of 3:1 (WCAG 2.2, 1.4.11) on the page's light and dark
# backgrounds. Any two differ by 20 (CIE 1976), also for colour-blind readers (Machado et al. 2009). A test checks this.
COLOURS = ("#3b56f5", "#c17525", "#39a579", "#c926ba", "#825e31", "#686876")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 4], [1, 3])
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
HEIGHT = 300  # pixels; the width is the page's
ALL = "all"  # the choice of all settings
_LONG = 24  # length of a setting's name above which a legend has one column


def select(context: ReportContext, name: str, drawn: set[str], *, everything: bool = False) -> alt.Parameter:
    """Return a control that selects one setting, or all."""
    names = [*([ALL] if everything else []), *(setting for setting in context.settings_names if setting in drawn)]
    return alt.param(name=name, value=names[0], bind=alt.binding_select(options=names, name="setting "))


def colour(context: ReportContext, symbol: str = "stroke") -> alt.Color:
    return alt.Color(
        "setting:N",
        sort=context.settings_names,
        scale=scale(context.settings_names, COLOURS),
        legend=legend(context.settings_names, symbol),
    )


def dash(context: ReportContext) -> alt.StrokeDash:
    return alt.StrokeDash(
        "setting:N",
        sort=context.settings_names,
        scale=scale(context.settings_names, DASHES),
        legend=legend(context.settings_names),
    )


def legend(names: Sequence[str], symbol: str = "stroke") -> alt.Legend:
    columns = 1 if max(map(len, names)) > _LONG else 2
    return alt.Legend(
        orient="bottom",
        title=None,
        columns=columns,
        labelLimit=420,
        symbolLimit=0,
        symbolOpacity=1,
        symbolType=symbol,
        symbolSize=300 if symbol == "stroke" else 90,
        symbolStrokeWidth=2.5,
        direction="vertical",
    )


def scale(names: Sequence[str], marks: Sequence[Any]) -> alt.Scale:
    """Return the marks of the settings, by their position.

    Colours are used in turn. Dashes and shapes are shifted after every round of colours.
    """
    turns = range(len(names))
    if marks is COLOURS:
        return alt.Scale(domain=names, range=[marks[k % len(marks)] for k in turns])
    return alt.Scale(domain=names, range=[marks[(k // len(COLOURS) + k) % len(marks)] for k in turns])


def data(rows: Sequence[Any]) -> alt.Data:
    values = [{key: _rounded(value) for key, value in dataclasses.asdict(row).items()} for row in rows]
    return alt.Data(values=values)  # type: ignore[no-untyped-call] # Altair's own


def digits(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.4g}"


def _rounded(value: Any) -> Any:
    """Round a number to the digits that a chart can show."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def to_spec(chart: Any, *, height: int = HEIGHT) -> dict[str, Any]:
    """Return the specification, as wide as its container on the page. Vega's own ARIA texts are switched off."""
    spec: dict[str, Any] = (
        chart.properties(width="container", height=height, background="transparent")
        .configure(aria=False, font="inherit")
        .configure_view(stroke=None)
        .to_dict()
    )
    return spec
