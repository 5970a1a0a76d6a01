"""What runs were made with, and whether they can stand in one table. Imports no torch."""

from collections.abc import Iterable, Sequence

from imgrec.config.identity import SHORT
from imgrec.tables.gather import Run

_COMMIT = 12  # digits that tell commits apart
_VERSIONS = ("imgrec", "python", "torch", "torchvision", "lightning", "torchmetrics")  # what may move a score
_LISTED = 4  # values named before the rest is counted


def warnings(runs: Sequence[Run]) -> list[str]:
    """What is mixed in the runs that should be one: data, code, versions; and code that no commit holds."""
    told = []
    for name in sorted({_data(run) for run in runs}):
        seen = _distinct(run.record.fingerprint[:SHORT] for run in runs if _data(run) == name)
        if len(seen) > 1:
            told.append(f"the runs were trained on different images of data={name}: fingerprints {_some(seen)}")
    for key, what in [("commit", "at different commits"), *((key, f"with different {key}") for key in _VERSIONS)]:
        seen = _distinct(_value(run, key) for run in runs)
        if len(seen) > 1:
            told.append(f"the runs were made {what}: {_some(seen)}")
    machines = _distinct(_hardware(run) for run in runs)
    if len(machines) > 1:
        told.append(f"the runs were made on different hardware, so their seconds do not compare: {_some(machines)}")
    dirty = sum(run.record.environment.get("dirty") is True for run in runs)
    if dirty:
        told.append(f"{dirty} of {len(runs)} runs were made with uncommitted changes: their commit does not say it all")
    return told


def line(runs: Sequence[Run]) -> str:
    """Commit, versions and hardware in one line."""
    parts = [f"commit {_some(_distinct(_value(run, 'commit') for run in runs))}"]
    parts += [f"{key} {_some(_distinct(_value(run, key) for run in runs))}" for key in _VERSIONS[1:5]]
    parts.append(_some(_distinct(_hardware(run) for run in runs)))
    return ", ".join(parts) + "."


def _data(run: Run) -> str:
    return str(run.record.config.get("data.name", "unknown"))


def _value(run: Run, key: str) -> str:
    value = run.record.environment.get(key)
    return "unknown" if value is None else str(value)[:_COMMIT] if key == "commit" else str(value)


def _hardware(run: Run) -> str:
    found = run.record.environment
    gpus = found.get("gpu")
    if isinstance(gpus, list) and gpus:
        return " + ".join(map(str, gpus))
    return f"{found.get('cpu', 'unknown CPU')}, {found.get('cores', '?')} cores"


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _some(values: Sequence[str]) -> str:
    return " / ".join(values[:_LISTED]) + (f" and {len(values) - _LISTED} more" if len(values) > _LISTED else "")
