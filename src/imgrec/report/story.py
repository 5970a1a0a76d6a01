"""What a report tells: of each setting its curves, confusion, calibration and classes; of each run where it lies."""

import csv
import json
import math
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from imgrec import records, statistics
from imgrec.errors import shown
from imgrec.runfolder import CURVES, DIAGNOSTICS
from imgrec.statistics import Summary
from imgrec.tables.column import Column
from imgrec.tables.factors import ABSENT, short
from imgrec.tables.gather import Run
from imgrec.tables.grid import Grid, grid
from imgrec.tables.table import Row, Table
from imgrec.tables.tabulate import score_of

Diagnostics = dict[str, Any]
"""A split's part of diagnostics.json: classes, confusion, per_class, calibration."""

CURVE_METRICS = (("val", "top1"), ("val", "loss"), ("train", "loss"), ("train", "top1"))


@dataclass(frozen=True, kw_only=True)
class Point:
    """A setting's mean at the end of an epoch, and the mean less and plus the standard deviation over n seeds."""

    setting: str
    epoch: int
    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a setting costs and reaches: mean seconds, mean score with its interval."""

    setting: str
    seconds: float
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Class:
    """A setting's accuracy on one class, mean and 95 % interval over seeds."""

    setting: str
    name: str
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Confusions:
    """How many images of a true class were given a class, over all seeds, and as a share of the true class."""

    setting: str
    true: str
    predicted: str
    count: int
    share: float


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Images of a range of confidence, over all seeds: their mean confidence and accuracy."""

    setting: str
    confidence: float
    accuracy: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Lane:
    """A run in the report's list. link: from the page to its folder, None for a lone record."""

    cells: list[str]
    link: str | None
    status: str
    error: str | None


@dataclass(kw_only=True)
class Story:
    """Everything the page shows, in plain values. reading: which images the diagnostics are of.

    remarks: what is not drawn although it is there. problems: files that could not be read.
    """

    title: str
    when: str
    counts: dict[str, int]
    settings: Grid
    settings_names: list[str]
    runs_header: list[str]
    runs: list[Lane]
    score: str
    curves: dict[str, list[Point]] = field(default_factory=dict)
    costs: list[Cost] = field(default_factory=list)
    classes: list[Class] = field(default_factory=list)
    confusions: list[Confusions] = field(default_factory=list)
    bins: list[Bin] = field(default_factory=list)
    reading: str = ""
    commands: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def tell(table: Table, problems: Sequence[str], page: Path) -> Story:
    """Read curves and diagnostics of the table's runs. page: where the report will lie, for its links."""
    runs = [run for row in table.rows for run in row.runs]
    story = Story(
        title=_title(runs),
        when=_when(runs),
        counts={status: n for status in records.STATUSES if (n := sum(run.record.status == status for run in runs))},
        settings=grid(table),
        settings_names=[_name(row) for row in table.rows],
        runs_header=[*(short(key) for key in table.factors.keys), "seed", "status"]
        + [column.label for column in table.columns]
        + ["seconds", "run"],
        runs=[_lane(table, row, run, page) for row in table.rows for run in row.runs],
        score=table.columns[0].label,
        commands=[command for row in table.rows for command in _commands(row)],
        reading=f"{table.columns[0].split} set, {table.at} checkpoint",
        problems=list(problems),
    )
    story.costs = [cost for row in table.rows if (cost := _cost(row, table.columns[0])) is not None]
    for row in table.rows:
        _take_curves(story, row)
        _take_diagnostics(story, row, table)
    return story


def _name(row: Row) -> str:
    return " · ".join(row.setting) or "all runs"


def _title(runs: Sequence[Run]) -> str:
    names = dict.fromkeys(run.record.study or run.record.experiment or "runs" for run in runs)
    return ", ".join(names)


def _when(runs: Sequence[Run]) -> str:
    """The time from the first beginning to the last end, in UTC, of the records that have them."""
    began = sorted(run.record.began for run in runs if run.record.began)
    ended = sorted(run.record.ended for run in runs if run.record.ended)
    if not began or not ended:
        return "the records do not say when"
    return f"{_minute(began[0])} to {_minute(ended[-1])} UTC"


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ")


def _lane(table: Table, row: Row, run: Run, page: Path) -> Lane:
    values = []
    for column in table.columns:
        value = score_of(run, column, table.at)
        values.append(ABSENT if value is None else f"{value * column.scale:.{4 if column.scale == 1 else 2}f}")
    seconds = run.record.cost.get("seconds")
    link = None
    if run.folder is not None:
        link = quote(os.fsencode(os.path.relpath(run.folder.resolve(), page.resolve().parent))) + "/"
    return Lane(
        cells=[
            *row.setting,
            str(run.seed),
            run.record.status,
            *values,
            f"{seconds:.0f}" if isinstance(seconds, (int, float)) else ABSENT,
            shown(run.name),
        ],
        link=link,
        status=run.record.status,
        error=run.record.error,
    )


def _commands(row: Row) -> list[str]:
    """Commands that make the setting's runs again: one for all seeds where the rest of their words is the same.

    A study's runs, and those that went on from another one, are commands of their own: `-m` would ask for more.
    """
    rest = {tuple(word for word in run.record.command if word.partition("=")[0] != "seed") for run in row.runs}
    studied = any(run.record.study or run.record.parent for run in row.runs)
    if len(rest) == 1 and len(row.runs) > 1 and not studied:
        seeds = ",".join(str(seed) for seed in sorted({run.seed for run in row.runs}))
        return [shlex.join(["imgrec", "train", "-m", *next(iter(rest)), f"seed={seeds}"])]
    return [
        shlex.join(["imgrec", "train", *run.record.command, *(["hydra.mode=RUN"] if run.record.study else [])])
        for run in row.runs
    ]


def _cost(row: Row, column: Column) -> Cost | None:
    seconds, summary = row.cost("seconds"), row.cells[0].summary
    if seconds is None or summary is None:
        return None
    ends = {"low": summary.low, "high": summary.high} if column.scale == 1 else _within_percent(summary)
    return Cost(setting=_name(row), seconds=seconds, mean=summary.mean, **ends)


def _within_percent(summary: Summary) -> dict[str, float | None]:
    """The interval's ends, no further than a share can lie: that of two seeds is wide."""
    if summary.low is None or summary.high is None:
        return {"low": None, "high": None}
    return {"low": max(0.0, summary.low), "high": min(100.0, summary.high)}


def _take_curves(story: Story, row: Row) -> None:
    """The means over seeds of what was logged at the end of epochs; runs of every status have curves."""
    found: dict[tuple[str, int], list[float]] = {}
    for run in row.runs:
        path = run.folder / CURVES if run.folder else None
        if path is None or not path.is_file():
            continue
        try:
            rows = [
                (f"{read['split']} {read['metric']}", int(read["epoch"]), float(read["value"]))
                for read in records.read_curves(path)
                if (read["split"], read["metric"]) in CURVE_METRICS
            ]
        except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
            story.problems.append(f"{path} must be curves that imgrec wrote, got {error}; they are not drawn")
            continue
        if not all(math.isfinite(value) for _, _, value in rows):
            story.remarks.append(f"values of {shown(run.name)} that are no numbers are not in the curves")
        for name, epoch, value in rows:
            if math.isfinite(value):
                found.setdefault((name, epoch), []).append(value)
    for (name, epoch), values in sorted(found.items()):
        summary = statistics.summarise(values)
        spread = summary.std or 0.0
        point = Point(
            setting=_name(row),
            epoch=epoch,
            mean=summary.mean,
            low=summary.mean - spread,
            high=summary.mean + spread,
            n=summary.n,
        )
        story.curves.setdefault(name, []).append(point)


def _take_diagnostics(story: Story, row: Row, table: Table) -> None:
    """Confusion, calibration and classes of the split and place that the table shows, summed over its seeds."""
    read: list[Diagnostics] = []
    for run in row.runs:
        path = run.folder / DIAGNOSTICS if run.folder else None
        if path is None or not path.is_file() or run.record.status != "finished":
            continue
        try:
            places = json.loads(path.read_text("utf-8"))
            found = (places.get(table.at) or places.get("last") or {}).get(table.columns[0].split)
            if found is not None:
                read.append(_checked(found))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else error
            story.problems.append(f"{path} must be diagnostics that imgrec wrote, got {reason}; they are not drawn")
    alike = [found for found in read if found["classes"] == read[0]["classes"]]
    if len(alike) < len(read):
        story.remarks.append(f"{_name(row)}: runs with other classes are not in calibration, classes and confusion")
    if alike:
        _take_confusions(story, _name(row), alike)
        _take_classes(story, _name(row), alike)
        _take_bins(story, _name(row), alike)


def _take_classes(story: Story, name: str, read: Sequence[Diagnostics]) -> None:
    for k, label in enumerate(read[0]["classes"]):
        shares = [found["per_class"][k]["accuracy"] for found in read]
        known = [100 * share for share in shares if share is not None]
        if known:
            summary = statistics.summarise(known)
            story.classes.append(Class(setting=name, name=label, mean=summary.mean, **_within_percent(summary)))


def _take_bins(story: Story, name: str, read: Sequence[Diagnostics]) -> None:
    """Bins of the same edges are summed."""
    edges = dict.fromkeys((row["low"], row["high"]) for found in read for row in found["calibration"])
    for low, high in sorted(edges):
        bins = [row for found in read for row in found["calibration"] if (row["low"], row["high"]) == (low, high)]
        n = sum(row["n"] for row in bins)
        if n:
            confidence = sum(row["n"] * row["confidence"] for row in bins if row["n"]) / n
            accuracy = sum(row["n"] * row["accuracy"] for row in bins if row["n"]) / n
            story.bins.append(Bin(setting=name, confidence=confidence, accuracy=accuracy, n=n))


def _checked(found: dict[str, Any]) -> Diagnostics:
    """Raises ValueError, KeyError or TypeError for parts that are missing, or do not fit together."""
    classes = len(found["classes"])
    if len(found["per_class"]) != classes or [len(line) for line in found["confusion"]] != [classes] * classes:
        raise ValueError("parts of different numbers of classes")
    sum(sum(line) for line in found["confusion"])
    sum(row["accuracy"] for row in found["per_class"] if row["accuracy"] is not None)
    for row in found["calibration"]:
        if row["n"] and not 0 <= row["confidence"] + row["accuracy"] + row["low"] + row["high"] <= 4:
            raise ValueError(f"shares outside [0, 1] in {row}")
    return found


def _take_confusions(story: Story, name: str, read: Sequence[Diagnostics]) -> None:
    classes = read[0]["classes"]
    for i, true in enumerate(classes):
        counts = [sum(found["confusion"][i][j] for found in read) for j in range(len(classes))]
        whole = sum(counts)
        for j, predicted in enumerate(classes):
            share = counts[j] / whole if whole else 0.0
            story.confusions.append(
                Confusions(setting=name, true=true, predicted=predicted, count=counts[j], share=share)
            )
