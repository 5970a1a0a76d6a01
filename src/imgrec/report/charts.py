"""The report's charts as Vega-Lite specifications, made with Altair. Their inks follow the page (page.css)."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from imgrec.report.drawn import Bin
from imgrec.report.story import Story
from imgrec.tables.factors import ABSENT

# Blue, orange, green, magenta, brown, grey: each stands out by 3:1 (WCAG 2.2, 1.4.11) on the page's light ground and on
# its dark one, and any two differ by 20 (CIE 1976) also to the colour-blind (Machado et al. 2009), as a test checks.
COLOURS = ("#3b56f5", "#c17525", "#39a579", "#c926ba", "#825e31", "#686876")
_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 4], [1, 3])
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
_HEIGHT = 300  # pixels; the width is the page's
_FEW_CLASSES = 12  # up to which its cells hold their counts
_ALL = "all"  # of the settings
_LONG = 24  # characters of a setting's name beyond which a legend has one column


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart: its place in the page, what it says to who cannot see it, its specification, its numbers as a table."""

    key: str
    title: str
    caption: str
    spec: dict[str, Any]
    header: list[str]
    rows: list[list[str]]


def charts(story: Story) -> list[Chart]:
    """The charts for which the story has anything to draw."""
    drawn = [
        _curves(story, name, k)
        for k, name in enumerate(name for name in ("val top1", "val loss", "train top1", "train loss"))
        if name in story.drawn.curves
    ]
    if story.costs:
        drawn.append(_costs(story))
    if story.drawn.bins:
        drawn.append(_calibration(story))
    if story.drawn.classes:
        drawn.append(_classes(story))
    if story.drawn.confusions:
        drawn.append(_confusion(story))
    return drawn


def _curves(story: Story, name: str, number: int) -> Chart:
    share = name.endswith("top1")
    points = story.drawn.curves[name]
    shown = f"shown{number}"
    chosen = _select(story, shown, {point.setting for point in points}, everything=True)
    picked = f"{shown} == '{_ALL}' || datum.setting == {shown}"
    y = alt.Y("mean:Q", title=name, axis=alt.Axis(format=".0%" if share else ""), scale=alt.Scale(zero=False))
    base = alt.Chart(_data(points)).encode(
        x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1)), color=_colour(story)
    )
    band = base.mark_area().encode(
        y=alt.Y("low:Q", title=name), y2="high:Q", opacity=alt.condition(picked, alt.value(0.18), alt.value(0.0))
    )
    line = base.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=24)).encode(
        y=y,
        strokeDash=_dash(story),
        opacity=alt.condition(picked, alt.value(1.0), alt.value(0.08)),
        tooltip=["setting:N", "epoch:Q", alt.Tooltip("mean:Q", format=".4f"), "n:Q"],
    )
    seeds = max(point.n for point in points)
    band_said = "the band is the standard deviation" if seeds > 1 else "one seed a setting, so there is no band"
    cells = {(point.setting, point.epoch): _digits(point.mean) for point in points}
    settings = [setting for setting in story.settings_names if any(point.setting == setting for point in points)]
    epochs = sorted({point.epoch for point in points})
    return Chart(
        key=f"curves-{name.replace(' ', '-')}",
        title=f"{name} after each epoch",
        caption=f"Mean over seeds of each setting; {band_said}.",
        spec=_finished((band + line).add_params(chosen)),
        header=["epoch", *settings],
        rows=[[str(epoch), *(cells.get((setting, epoch), ABSENT) for setting in settings)] for epoch in epochs],
    )


def _costs(story: Story) -> Chart:
    base = alt.Chart(_data(story.costs)).encode(
        x=alt.X("seconds:Q", title="seconds a run", scale=alt.Scale(zero=False, padding=20)),
        color=_colour(story, "circle"),
    )
    interval = base.mark_rule().encode(
        y=alt.Y("low:Q", title=story.score, scale=alt.Scale(zero=False, padding=10)), y2="high:Q"
    )
    point = base.mark_point(filled=True, size=90, opacity=1).encode(
        y=alt.Y("mean:Q", title=story.score, scale=alt.Scale(zero=False, padding=10)),
        shape=alt.Shape(
            "setting:N", sort=story.settings_names, scale=_scale(story, _SHAPES), legend=_legend(story, "circle")
        ),
        tooltip=["setting:N", alt.Tooltip("seconds:Q", format=".1f"), alt.Tooltip("mean:Q", format=".4f")],
    )
    return Chart(
        key="cost",
        title="Score against cost",
        caption="Mean score of each setting, with its 95 % interval over seeds, against the mean seconds of its runs.",
        spec=_finished(interval + point),
        header=["setting", "seconds", story.score, "low", "high"],
        rows=[[row.setting, *map(_digits, (row.seconds, row.mean, row.low, row.high))] for row in story.costs],
    )


def _calibration(story: Story) -> Chart:
    ends = _data([Bin(setting="ideal", confidence=end, accuracy=end, n=0) for end in (0.0, 1.0)])
    x = alt.X("confidence:Q", title="confidence", axis=alt.Axis(format=".0%"), scale=alt.Scale(domain=[0, 1]))
    y = alt.Y("accuracy:Q", title="accuracy", axis=alt.Axis(format=".0%"), scale=alt.Scale(domain=[0, 1]))
    ideal = alt.Chart(ends).mark_line(color=COLOURS[-1], strokeDash=[2, 4]).encode(x=x, y=y)
    line = (
        alt.Chart(_data(story.drawn.bins))
        .mark_line(point=True)
        .encode(
            x=x,
            y=y,
            color=_colour(story),
            strokeDash=_dash(story),
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
        caption=f"{story.reading}: accuracy of the images of each range of confidence, over all seeds. Below the dotted"
        " line, a network is too sure.",
        spec=_finished(ideal + line),
        header=["setting", "confidence", "accuracy", "images"],
        rows=[[row.setting, _digits(row.confidence), _digits(row.accuracy), str(row.n)] for row in story.drawn.bins],
    )


def _classes(story: Story) -> Chart:
    chosen = _select(story, "setting_of_classes", {row.setting for row in story.drawn.classes})
    names = list(dict.fromkeys(row.name for row in story.drawn.classes))
    base = alt.Chart(_data(story.drawn.classes)).transform_filter("datum.setting == setting_of_classes")
    means = {(row.setting, row.name): _digits(row.mean) for row in story.drawn.classes}
    settings = list(dict.fromkeys(row.setting for row in story.drawn.classes))
    y = alt.Y("name:N", sort=names, title=None)
    bar = base.mark_bar(color=COLOURS[0]).encode(
        y=y,
        x=alt.X("mean:Q", title="accuracy %", scale=alt.Scale(domain=[0, 100])),
        tooltip=["setting:N", "name:N", alt.Tooltip("mean:Q", format=".2f")],
    )
    interval = base.mark_rule(color=COLOURS[1], strokeWidth=3).encode(y=y, x=alt.X("low:Q"), x2="high:Q")
    return Chart(
        key="classes",
        title="Accuracy by class",
        caption=f"{story.reading}: mean over seeds of one setting, with the mean's 95 % interval over seeds.",
        spec=_finished((bar + interval).add_params(chosen), height=max(_HEIGHT, 18 * len(names))),
        header=["class", *settings],
        rows=[[name, *(means.get((setting, name), ABSENT) for setting in settings)] for name in names],
    )


def _confusion(story: Story) -> Chart:
    chosen = _select(story, "setting_of_confusion", {row.setting for row in story.drawn.confusions})
    names = list(dict.fromkeys(row.true for row in story.drawn.confusions))
    base = (
        alt.Chart(_data(story.drawn.confusions))
        .transform_filter("datum.setting == setting_of_confusion")
        .encode(
            x=alt.X("predicted:N", sort=names, title="predicted", axis=alt.Axis(labelAngle=-90)),
            y=alt.Y("true:N", sort=names, title="true"),
        )
    )
    counts = {(row.setting, row.true, row.predicted): row.count for row in story.drawn.confusions}
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
        caption=f"{story.reading}: images of a true class (row) by the class they were given (column), over all seeds.",
        spec=_finished(layers.add_params(chosen), height=max(_HEIGHT, 30 * len(names))),
        header=["setting", "true class", *(f"given {name}" for name in names)],
        rows=[
            [setting, true, *(str(counts.get((setting, true, name), 0)) for name in names)]
            for setting, true in dict.fromkeys((row.setting, row.true) for row in story.drawn.confusions)
        ],
    )


def _select(story: Story, name: str, drawn: set[str], *, everything: bool = False) -> alt.Parameter:
    """A choice of one setting, or of all."""
    names = [*([_ALL] if everything else []), *(setting for setting in story.settings_names if setting in drawn)]
    return alt.param(name=name, value=names[0], bind=alt.binding_select(options=names, name="setting "))


def _colour(story: Story, symbol: str = "stroke") -> alt.Color:
    return alt.Color(
        "setting:N", sort=story.settings_names, scale=_scale(story, COLOURS), legend=_legend(story, symbol)
    )


def _dash(story: Story) -> alt.StrokeDash:
    return alt.StrokeDash("setting:N", sort=story.settings_names, scale=_scale(story, _DASHES), legend=_legend(story))


def _legend(story: Story, symbol: str = "stroke") -> alt.Legend:
    columns = 1 if max(map(len, story.settings_names)) > _LONG else 2
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


def _scale(story: Story, marks: Sequence[Any]) -> alt.Scale:
    """Settings by their place: colours take turns first, so that dashes and shapes change with every round of them."""
    names = story.settings_names
    turns = range(len(names))
    if marks is COLOURS:
        return alt.Scale(domain=names, range=[marks[k % len(marks)] for k in turns])
    return alt.Scale(domain=names, range=[marks[(k // len(COLOURS) + k) % len(marks)] for k in turns])


def _data(rows: Sequence[Any]) -> alt.Data:
    values = [{key: _short(value) for key, value in dataclasses.asdict(row).items()} for row in rows]
    return alt.Data(values=values)  # type: ignore[no-untyped-call] # Altair's own


def _digits(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.4g}"


def _short(value: Any) -> Any:
    """Numbers with no more digits than a chart can show."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _finished(chart: Any, *, height: int = _HEIGHT) -> dict[str, Any]:
    """The specification, as wide as its place on the page, which also says to a reader what is drawn."""
    spec: dict[str, Any] = (
        chart.properties(width="container", height=height, background="transparent")
        .configure(aria=False, font="inherit")
        .configure_view(stroke=None)
        .to_dict()
    )
    return spec
