"""Create curves and diagnostics for the runs that tests create."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from imgrec import curve_file, records


def add_curves(folder: Path, curves: Mapping[str, Sequence[float]]) -> None:
    """Values after each epoch by `split metric`; the seed's hundredths are added."""
    seed = records.read(folder / "record.json").config["seed"]
    lines = [",".join(curve_file.CURVE_COLUMNS)]
    for name, values in curves.items():
        split, metric = name.split()
        lines += [f"{10 * k},{k},{split},{metric},{value + seed / 100}" for k, value in enumerate(values, start=1)]
    (folder / "curves.csv").write_text("\n".join(lines) + "\n")


def add_diagnostics(folder: Path, classes: Sequence[str], confusion: Sequence[Sequence[int]]) -> None:
    """The diagnostics of the test set, at both places; all images in one bin of confidence."""
    images, hits = sum(map(sum, confusion)), sum(confusion[k][k] for k in range(len(classes)))
    found = {
        "classes": list(classes),
        "confusion": [list(row) for row in confusion],
        "per_class": [
            {"class": name, "n": sum(confusion[k]), "accuracy": confusion[k][k] / sum(confusion[k])}
            for k, name in enumerate(classes)
        ],
        "calibration": [
            {"low": 0.0, "high": 0.5, "n": 0, "confidence": None, "accuracy": None},
            {"low": 0.5, "high": 1.0, "n": images, "confidence": 0.8, "accuracy": hits / images},
        ],
    }
    (folder / "diagnostics.json").write_text(json.dumps({"best": {"test": found}, "last": {"test": found}}))
