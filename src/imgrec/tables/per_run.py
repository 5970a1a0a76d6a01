"""List runs one by one: settings, scores and costs as columns of plain values. Imports no torch."""

import csv
import io
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from imgrec.errors import shown
from imgrec.records import Score
from imgrec.tables import factors, images
from imgrec.tables.factors import ABSENT, ROOT
from imgrec.tables.gather import Run
from imgrec.untrusted_text import for_spreadsheet

FORMATS = ("csv", "json")
_ENVIRONMENT = (
    "commit",
    "dirty",
    "python",
    "torch",
    "torchvision",
    "lightning",
    "cpu",
    "cores",
    "cpu_kernels",
    "gpu",
    "threads",
)
_OF_DEVICE = (
    "device",
    "deterministic",
    "driver",
    "cudnn",
    "tf32",
    "shared",
)  # only where a record has one: older ones have none
_IMAGES = "images"  # the column that identifies the runs' data, as a root alone does not

Columns = dict[str, list[Any]]
"""For each column's name, a value for each run: number, boolean, text, list of these, or None."""


def columns(runs: Sequence[Run], said: list[str]) -> Columns:
    """Return all that is known of each run. `imgrec.load_runs` documents the columns.

    Args:
        runs: The runs.
        said: A list to which notes on omitted values are added.
    """
    found: Columns = {
        "run_id": [run.record.run_id for run in runs],
        "name": [run.name for run in runs],
        "folder": [str(run.folder) if run.folder else None for run in runs],
        "path": [str(run.path) for run in runs],
        "status": [run.record.status for run in runs],
        "error": [run.record.error for run in runs],
        "study": [run.record.study for run in runs],
        "experiment": [run.record.experiment for run in runs],
        "seed": [run.seed for run in runs],
        _IMAGES: [value_of(run, _IMAGES) for run in runs],
    }
    for key in varied(runs):
        found.setdefault(key, [value_of(run, key) for run in runs])
    found |= _scores(runs, said)
    for name in dict.fromkeys(name for run in runs for name, value in run.record.cost.items() if _is_number(value)):
        found.setdefault(name, [run.record.cost.get(name) for run in runs])
    for key in dict.fromkeys(key for run in runs for key in run.record.config):
        if key not in found:
            found[key] = [value_of(run, key) for run in runs]
    found["began"] = [run.record.began for run in runs]
    found["ended"] = [run.record.ended for run in runs]
    found["command"] = [shlex.join(run.record.command) for run in runs]
    found["parent_id"] = [run.record.parent_id for run in runs]
    later = [name for name in _OF_DEVICE if any(name in run.record.environment for run in runs)]
    for name in (*_ENVIRONMENT, *later):
        found[name] = [_flat(run.record.environment.get(name)) for run in runs]
    return found


def varied(runs: Sequence[Run]) -> list[str]:
    """Return the columns of the factors, as a table finds them, without the seed."""
    return [_IMAGES if key == ROOT else key for key in factors.derive(runs).keys]


def value_of(run: Run, key: str) -> Any:
    """Return the run's value of a configuration key, or of the column `images`; None where it has none."""
    if key == _IMAGES:
        return images.named(run.record)
    value = run.record.config.get(key) if key == ROOT else factors.value_of(run.record, key)
    return None if value == ABSENT else value


def render(found: Columns, form: str) -> str:
    """Return the runs as CSV, one on each line, or as a list of JSON objects. A missing value is empty, or null."""
    rows = [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]
    if form == "json":
        plain = [{name: _finite(value) for name, value in row.items()} for row in rows]
        return json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([for_spreadsheet(name) for name in found])
    writer.writerows([[_cell(value) for value in row.values()] for row in rows])
    return text.getvalue()


def _cell(value: Any) -> str:
    return "" if _finite(value) is None else for_spreadsheet(factors.text(value))


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flat(value: Any) -> Any:
    """Return a value of an environment; several GPUs become one text."""
    return " + ".join(map(str, value)) or None if isinstance(value, list) else value


def _scores(runs: Sequence[Run], said: list[str]) -> Mapping[str, list[float | None]]:
    """Return a column for each score that a finished run has.

    Of a score measured with several settings, the first counts.
    """
    values: dict[str, dict[int, float]] = {}
    for place, run in enumerate(runs):
        for score in run.record.scores if run.record.status == "finished" else []:
            named = values.setdefault(_score_name(score), {})
            if place not in named:
                named[place] = float(score.value)
            elif score.value != named[place]:
                said.append(
                    f"{_score_name(score)} of {shown(run.name)} was measured with several settings, and the first"
                    f" counts: not {score.value:g} with {factors.text(score.settings)}"
                )
    return {name: [named.get(place) for place in range(len(runs))] for name, named in sorted(values.items())}


def _score_name(score: Score) -> str:
    return f"{score.split}_{score.metric}_{score.at}" + ("" if score.protocol == "clean" else f"_{score.protocol}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
