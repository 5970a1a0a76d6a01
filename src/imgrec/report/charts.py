"""Build the report's charts as Vega-Lite specifications, with Altair. Their colours suit the page (page.css)."""

from dataclasses import dataclass
from typing import Any

import altair as alt

from imgrec.report import chart_style
from imgrec.report.chart_data import Bin
from imgrec.report.context import ReportContext
from imgrec.tables.factors import ABSENT
from imgrec.tables.sensitivity import Sensitivity

_FEW_CLASSES = 12  # largest number of classes whose cells show their counts


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart: its key on the page, title, caption, specification, and its numbers as a table.

    Readers who cannot see the chart have the table.
    """

    key: str
    title: str
    caption: str
    spec: dict[str, Any]
    header: list[str]
    rows: list[list[str]]


def charts(context: ReportContext) -> list[Chart]:
    """Return the charts for which the context has data."""
    drawn = [
        _curves(context, name, k)
        for k, name in enumerate(name for name in ("val top1", "val loss", "train top1", "train loss"))
        if name in context.chart_data.curves
    ]
    drawn += [_tuning(found, k) for k, found in enumerate(context.tunings) if len(found.values) > 1]
    if context.costs:
        drawn.append(_costs(context))
    if context.chart_data.bins:
        drawn.append(_calibration(context))
    if context.chart_data.classes:
        drawn.append(_classes(context))
    if context.chart_data.confusions:
        drawn.append(_confusion(context))
    return drawn


def _curves(context: ReportContext, name: str, number: int) -> Chart:
    share = name.endswith("top1")
    points = context.chart_data.curves[name]
    shown = f"shown{number}"
    chosen = chart_style.select(context, shown, {point.setting for point in points}, everything=True)
    picked = f"{shown} == '{chart_style.ALL}' || datum.setting == {shown}"
    y = alt.Y("mean:Q", title=name, axis=alt.Axis(format=".0%" if share else ""), scale=alt.Scale(zero=False))
    base = alt.Chart(chart_style.data(points)).encode(
        x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1)), color=chart_style.colour(context)
    )
    band = base.mark_area().encode(
        y=alt.Y("low:Q", title=name), y2="high:Q", opacity=alt.condition(picked, alt.value(0.18), alt.value(0.0))
    )
    line = base.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=24)).encode(
        y=y,
        strokeDash=chart_style.dash(context),
        opacity=alt.condition(picked, alt.value(1.0), alt.value(0.08)),
        tooltip=["setting:N", "epoch:Q", alt.Tooltip("mean:Q", format=".4f"), "n:Q"],
    )
    several = max(point.n for point in points) > 1
    band_said = "the band is the standard deviation" if several else "one run a setting, so there is no band"
    cells = {(point.setting, point.epoch): chart_style.digits(point.mean) for point in points}
    settings = [setting for setting in context.settings_names if any(point.setting == setting for point in points)]
    epochs = sorted({point.epoch for point in points})
    return Chart(
        key=f"curves-{name.replace(' ', '-')}",
        title=f"{name} after each epoch",
        caption=f"Mean over the runs of each setting; {band_said}.",
        spec=chart_style.to_spec((band + line).add_params(chosen)),
        header=["epoch", *settings],
        rows=[[str(epoch), *(cells.get((setting, epoch), ABSENT) for setting in settings)] for epoch in epochs],
    )


def _tuning(found: Sensitivity, number: int) -> Chart:
    """Return the chart of validation top1 against the tried value: a line for each choice, a diamond if chosen."""
    numeric = all(_is_positive(value) for value in found.values)
    rows = [
        {
            "choice": each.choice,
            "value": float(each.value) if numeric else each.value,
            "top1": each.top1,
            "is": "chosen" if each.chosen else "tried",
        }
        for each in found.tries
        if each.top1 is not None
    ]
    keys = " and ".join(found.keys)
    if numeric:
        x = alt.X("value:Q", title=keys, scale=alt.Scale(type="log"))
    else:
        x = alt.X("value:N", title=keys, sort=found.values)
    base = alt.Chart(alt.Data(values=rows)).encode(  # type: ignore[no-untyped-call] # Altair's own
        x=x,
        y=alt.Y("top1:Q", title="val top1 %", scale=alt.Scale(zero=False, padding=10)),
        color=alt.Color(
            "choice:N",
            sort=found.choices,
            scale=chart_style.scale(found.choices, chart_style.COLOURS),
            legend=chart_style.legend(found.choices),
        ),
        tooltip=["choice:N", "value:N", alt.Tooltip("top1:Q", format=".2f"), "is:N"],
    )
    line = base.mark_line(strokeWidth=2).encode(
        strokeDash=alt.StrokeDash(
            "choice:N",
            sort=found.choices,
            scale=chart_style.scale(found.choices, chart_style.DASHES),
            legend=chart_style.legend(found.choices),
        )
    )
    kinds = ["chosen", "tried"]
    point = base.mark_point(filled=True, opacity=1).encode(
        shape=alt.Shape("is:N", scale=alt.Scale(domain=kinds, range=["diamond", "circle"]), legend=None),
        size=alt.Size("is:N", scale=alt.Scale(domain=kinds, range=[220, 30]), legend=None),
    )

    def shown(choice: str, value: str) -> str:
        tried = found.tried(choice, value)
        return ABSENT if tried is None else tried.text

    failed = sum(each.top1 is None for each in found.tries)
    more = f" {failed} of {len(found.tries)} tries failed and are not drawn." if failed else ""
    return Chart(
        key=f"tuning-{number}",
        title="Tuning",
        caption=f"{found.title}. A diamond is what the choice was then run with.{more}",
        spec=chart_style.to_spec(line + point),
        header=[keys, *found.choices],
        rows=[[value, *(shown(choice, value) for choice in found.choices)] for value in found.values],
    )


def _is_positive(value: str) -> bool:
    try:
        return float(value) > 0
    except ValueError:
        return False


def _costs(context: ReportContext) -> Chart:
    base = alt.Chart(chart_style.data(context.costs)).encode(
        x=alt.X("seconds:Q", title="seconds a run", scale=alt.Scale(zero=False, padding=20)),
        color=chart_style.colour(context, "circle"),
    )
    interval = base.mark_rule().encode(
        y=alt.Y("low:Q", title=context.score, scale=alt.Scale(zero=False, padding=10)), y2="high:Q"
    )
    point = base.mark_point(filled=True, size=90, opacity=1).encode(
        y=alt.Y("mean:Q", title=context.score, scale=alt.Scale(zero=False, padding=10)),
        shape=alt.Shape(
            "setting:N",
            sort=context.settings_names,
            scale=chart_style.scale(context.settings_names, chart_style.SHAPES),
            legend=chart_style.legend(context.settings_names, "circle"),
        ),
        tooltip=["setting:N", alt.Tooltip("seconds:Q", format=".1f"), alt.Tooltip("mean:Q", format=".4f")],
    )
    return Chart(
        key="cost",
        title="Score against cost",
        caption="Mean score of each setting, with its 95 % interval over seeds, against the mean seconds of its runs.",
        spec=chart_style.to_spec(interval + point),
        header=["setting", "seconds", context.score, "low", "high"],
        rows=[
            [row.setting, *map(chart_style.digits, (row.seconds, row.mean, row.low, row.high))] for row in context.costs
        ],
    )


def _calibration(context: ReportContext) -> Chart:
    ends = chart_style.data([Bin(setting="ideal", confidence=end, accuracy=end, n=0) for end in (0.0, 1.0)])
    x = alt.X("confidence:Q", title="confidence", axis=alt.Axis(format=".0%"), scale=alt.Scale(domain=[0, 1]))
    y = alt.Y("accuracy:Q", title="accuracy", axis=alt.Axis(format=".0%"), scale=alt.Scale(domain=[0, 1]))
    ideal = alt.Chart(ends).mark_line(color=chart_style.COLOURS[-1], strokeDash=[2, 4]).encode(x=x, y=y)
    line = (
        alt.Chart(chart_style.data(context.chart_data.bins))
        .mark_line(point=True)
        .encode(
            x=x,
            y=y,
            color=chart_style.colour(context),
            strokeDash=chart_style.dash(context),
            tooltip=[
                "setting:N",
                alt.Tooltip("confidence:Q", format=".1%"),
                alt.Tooltip("accuracy:Q", format=".1%"),
                "n:Q",
            ],
        )
    )
    return Chart(
        key="calibration",
        title="Calibration",
        caption=f"{context.reading}: accuracy of the images of each range of confidence, over all runs. Below the"
        " dotted line, a network is too sure.",
        spec=chart_style.to_spec(ideal + line),
        header=["setting", "confidence", "accuracy", "images"],
        rows=[
            [row.setting, chart_style.digits(row.confidence), chart_style.digits(row.accuracy), str(row.n)]
            for row in context.chart_data.bins
        ],
    )


def _classes(context: ReportContext) -> Chart:
    chosen = chart_style.select(context, "setting_of_classes", {row.setting for row in context.chart_data.classes})
    names = list(dict.fromkeys(row.name for row in context.chart_data.classes))
    base = alt.Chart(chart_style.data(context.chart_data.classes)).transform_filter(
        "datum.setting == setting_of_classes"
    )
    means = {(row.setting, row.name): chart_style.digits(row.mean) for row in context.chart_data.classes}
    settings = list(dict.fromkeys(row.setting for row in context.chart_data.classes))
    y = alt.Y("name:N", sort=names, title=None)
    bar = base.mark_bar(color=chart_style.COLOURS[0]).encode(
        y=y,
        x=alt.X("mean:Q", title="accuracy %", scale=alt.Scale(domain=[0, 100])),
        tooltip=["setting:N", "name:N", alt.Tooltip("mean:Q", format=".2f")],
    )
    interval = base.mark_rule(color=chart_style.COLOURS[1], strokeWidth=3).encode(y=y, x=alt.X("low:Q"), x2="high:Q")
    return Chart(
        key="classes",
        title="Accuracy by class",
        caption=f"{context.reading}: mean over seeds of one setting, with the mean's 95 % interval over seeds.",
        spec=chart_style.to_spec((bar + interval).add_params(chosen), height=max(chart_style.HEIGHT, 18 * len(names))),
        header=["class", *settings],
        rows=[[name, *(means.get((setting, name), ABSENT) for setting in settings)] for name in names],
    )


def _confusion(context: ReportContext) -> Chart:
    chosen = chart_style.select(context, "setting_of_confusion", {row.setting for row in context.chart_data.confusions})
    names = list(dict.fromkeys(row.true for row in context.chart_data.confusions))
    base = (
        alt.Chart(chart_style.data(context.chart_data.confusions))
        .transform_filter("datum.setting == setting_of_confusion")
        .encode(
            x=alt.X("predicted:N", sort=names, title="predicted", axis=alt.Axis(labelAngle=-90)),
            y=alt.Y("true:N", sort=names, title="true"),
        )
    )
    counts = {(row.setting, row.true, row.predicted): row.count for row in context.chart_data.confusions}
    square = base.mark_rect().encode(
        color=alt.Color(
            "share:Q",
            title="share of the true class",
            scale=alt.Scale(scheme="blues", domain=[0, 1]),
            legend=alt.Legend(format=".0%", orient="bottom", gradientLength=160),
        ),
        tooltip=["true:N", "predicted:N", "count:Q", alt.Tooltip("share:Q", format=".1%")],
    )
    layers = square
    if len(names) <= _FEW_CLASSES:
        ink = alt.condition("datum.share > 0.73", alt.value("white"), alt.value("black"))
        layers = square + base.mark_text(fontSize=10).encode(text="count:Q", color=ink)
    return Chart(
        key="confusion",
        title="Confusion",
        caption=f"{context.reading}: images of a true class (row) by the class they were given (column), over all"
        " seeds.",
        spec=chart_style.to_spec(layers.add_params(chosen), height=max(chart_style.HEIGHT, 30 * len(names))),
        header=["setting", "true class", *(f"given {name}" for name in names)],
        rows=[
            [setting, true, *(str(counts.get((setting, true, name), 0)) for name in names)]
            for setting, true in dict.fromkeys((row.setting, row.true) for row in context.chart_data.confusions)
        ],
    )
