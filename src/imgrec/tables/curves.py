"""Read the curves of a setting's runs: the values logged at the end of each epoch. Imports no torch."""

import math
from collections.abc import Container
from dataclasses import dataclass, field

from imgrec import curve_file
from imgrec.errors import RunError, shown
from imgrec.runfolder import CURVES
from imgrec.tables.gather import stands
from imgrec.tables.table import Row


@dataclass(kw_only=True)
class Curves:
    """The curves of a setting.

    Attributes:
        values: By `split metric` and epoch, one value for each run.
        remarks: Values that exist but were left out.
        problems: Files that could not be read.
        files: The number of files that could be read.
        often: The names that were logged several times in an epoch.
        infinite: The names that have values which are infinite or not a number.
    """

    values: dict[str, dict[int, list[float]]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    files: int = 0
    often: set[str] = field(default_factory=set)
    infinite: set[str] = field(default_factory=set)


def curves(row: Row, metrics: Container[tuple[str, str]] | None = None) -> Curves:
    """Read the curves of the setting's runs, of every status.

    Args:
        row: The setting.
        metrics: The pairs (split, metric) to read; None for all.
    """
    found = Curves()
    for run in row.runs:
        path = run.folder / CURVES if run.folder else None
        if path is None or not stands(path):
            continue
        try:
            rows = [
                (f"{read['split']} {read['metric']}", int(read["epoch"]), float(read["value"]))
                for read in curve_file.read_curves(path)
                if metrics is None or (read["split"], read["metric"]) in metrics
            ]
        except RunError as error:
            found.problems.append(f"{error}; until then they are not drawn")
            continue
        found.files += 1
        if infinite := {name for name, _, value in rows if not math.isfinite(value)}:
            found.infinite |= infinite
            names = ", ".join(sorted(infinite))
            found.remarks.append(f"infinite values and NaN of {shown(run.name)} are not in the curves: {names}")
        seen = set()
        for name, epoch, value in rows:
            if (name, epoch) in seen:
                found.often.add(name)
            seen.add((name, epoch))
            if math.isfinite(value):
                found.values.setdefault(name, {}).setdefault(epoch, []).append(value)
    return found
