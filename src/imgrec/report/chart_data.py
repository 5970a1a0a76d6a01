"""Collect the data of a report's charts: curves, confusion, calibration and classes of each setting, over its seeds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from imgrec import diagnostics, statistics
from imgrec.diagnostics import Diagnostics
from imgrec.errors import RunError
from imgrec.runfolder import DIAGNOSTICS
from imgrec.tables.curves import curves
from imgrec.tables.gather import stands
from imgrec.tables.names import Names
from imgrec.tables.table import Row, Table
from imgrec.untrusted_text import visible

MOST_CLASSES = 40  # largest number of classes with a readable confusion matrix
CURVE_METRICS = (("val", "top1"), ("val", "loss"), ("train", "loss"), ("train", "top1"))


# properties of every object in JavaScript (ECMAScript 2025, sections 20.1.3 and B.2.2)
_OF_OBJECTS = {
    *("constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString"),
    *("valueOf", "__proto__", "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__"),
}


@dataclass(frozen=True, kw_only=True)
class Point:
    """A setting's mean at the end of an epoch, and mean minus and plus the standard deviation, over n seeds."""

    setting: str
    epoch: int
    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Class:
    """A setting's accuracy on one class in percent, mean and 95 % interval over seeds."""

    setting: str
    name: str
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Confusions:
    """The number of images of a true class that were predicted as a class, over all seeds, and its share."""

    setting: str
    true: str
    predicted: str
    count: int
    share: float


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Images in a range of confidence, over all seeds: their mean confidence and accuracy."""

    setting: str
    confidence: float
    accuracy: float
    n: int


@dataclass(kw_only=True)
class ChartData:
    """The data of the charts.

    Attributes:
        curves: Points, by `split metric`.
        classes: Accuracies by class.
        confusions: Cells of confusion matrices.
        bins: Ranges of confidence.
        remarks: Data that exist but are not drawn.
        problems: Files that could not be read.
    """

    curves: dict[str, list[Point]] = field(default_factory=dict)
    classes: list[Class] = field(default_factory=list)
    confusions: list[Confusions] = field(default_factory=list)
    bins: list[Bin] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def chart_data(table: Table) -> ChartData:
    """Read curves and diagnostics of the table's runs, for the split and the place that the table shows."""
    data = ChartData()
    for row in table.rows:
        _take_curves(data, name_of(table, row), row)
        _take_diagnostics(data, name_of(table, row), row, table)
    return data


def name_of(table: Table, row: Row) -> str:
    """Return the setting's name in charts: choices by their value, keys with key and value."""
    return Names().setting(table.factors.keys, row.setting, between=" · ")


def _take_curves(data: ChartData, setting: str, row: Row) -> None:
    """Add the means over seeds of the values at the ends of epochs. Runs of every status have curves."""
    found = curves(row, CURVE_METRICS)
    data.remarks += found.remarks
    data.problems += found.problems
    for name, epochs in sorted(found.values.items()):
        for epoch, values in sorted(epochs.items()):
            summary = statistics.summarise(values)
            spread = summary.std or 0.0
            point = Point(
                setting=setting,
                epoch=epoch,
                mean=summary.mean,
                low=summary.mean - spread,
                high=summary.mean + spread,
                n=summary.n,
            )
            data.curves.setdefault(name, []).append(point)


def _take_diagnostics(data: ChartData, setting: str, row: Row, table: Table) -> None:
    """Add confusion, calibration and classes of the table's split and place, summed over seeds."""
    found: list[Diagnostics] = []
    seeds: list[int] = []
    for run in row.runs:
        path = run.folder / DIAGNOSTICS if run.folder else None
        if path is None or not stands(path) or run.record.status != "finished":
            continue
        try:
            of_run = diagnostics.read(path, at=table.at, split=table.columns[0].split)
        except RunError as error:
            data.problems.append(str(error))
        else:
            if of_run is not None:
                found.append(of_run)
                seeds.append(run.seed)
    alike = [each for each in found if each.classes == found[0].classes]
    if len(alike) < len(found):
        data.remarks.append(f"{setting}: runs with other classes are not in calibration, classes and confusion")
    if alike:
        _take_confusions(data, setting, alike)
        _take_classes(
            data,
            setting,
            alike,
            [seed for each, seed in zip(found, seeds, strict=True) if each.classes == found[0].classes],
        )
        _take_bins(data, setting, alike)


def _labels(found: Diagnostics) -> list[str]:
    """Return the classes' names for the page.

    Bytes that are not UTF-8 become escapes. Vega looks names up in plain JavaScript objects, which always have
    properties such as `constructor`. Such a name gets a zero-width character at its end, so that it looks the same.
    """
    return [f"{label}\u200b" if label in _OF_OBJECTS else label for label in map(visible, found.classes)]


def _take_classes(data: ChartData, name: str, read: Sequence[Diagnostics], seeds: Sequence[int]) -> None:
    """Add the accuracy of each class: first a seed's mean over its runs, such as folds, then the mean over seeds."""
    for k, label in enumerate(_labels(read[0])):
        by_seed: dict[int, list[float]] = {}
        for found, seed in zip(read, seeds, strict=True):
            if (share := found.accuracy[k]) is not None:
                by_seed.setdefault(seed, []).append(100 * share)
        if by_seed:
            summary = statistics.summarise([fmean(values) for values in by_seed.values()], within=(0.0, 100.0))
            data.classes.append(Class(setting=name, name=label, mean=summary.mean, low=summary.low, high=summary.high))


def _take_bins(data: ChartData, name: str, read: Sequence[Diagnostics]) -> None:
    """Add calibration bins; bins with the same edges are summed."""
    edges = dict.fromkeys((row.low, row.high) for found in read for row in found.calibration)
    for low, high in sorted(edges):
        bins = [row for found in read for row in found.calibration if (row.low, row.high) == (low, high)]
        n = sum(row.n for row in bins)
        confidence = sum(row.n * row.confidence for row in bins) / n
        accuracy = sum(row.n * row.accuracy for row in bins) / n
        data.bins.append(Bin(setting=name, confidence=confidence, accuracy=accuracy, n=n))


def _take_confusions(data: ChartData, name: str, read: Sequence[Diagnostics]) -> None:
    classes = _labels(read[0])
    if len(classes) > MOST_CLASSES:
        remark = f"the confusion of {len(classes)} classes is not drawn; each run's diagnostics.json has it"
        data.remarks += [remark] if remark not in data.remarks else []
        return
    for i, true in enumerate(classes):
        counts = [sum(found.confusion[i].get(j, 0) for found in read) for j in range(len(classes))]
        whole = sum(counts)
        for j, predicted in enumerate(classes):
            share = counts[j] / whole if whole else 0.0
            data.confusions.append(
                Confusions(setting=name, true=true, predicted=predicted, count=counts[j], share=share)
            )
