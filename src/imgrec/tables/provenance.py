"""Say what runs were made with, and warn where they should not be in one table. Imports no torch."""

from collections.abc import Iterable, Sequence

from imgrec import codebase, codechange
from imgrec.config.identity import SHORT
from imgrec.tables import images, run_score
from imgrec.tables.column import Column
from imgrec.tables.evaluations import key_of
from imgrec.tables.gather import Run

_COMMIT = 12  # digits of a commit that are shown
_VERSIONS = ("imgrec", "python", "torch", "torchvision", "lightning", "torchmetrics")  # they may change a score
_LISTED = 4  # values that are named; the rest is counted


def warnings(runs: Sequence[Run]) -> list[str]:
    """Return warnings on runs that differ in data, code or versions, and on code that no commit contains."""
    told = []
    for name in sorted({images.named(run.record) for run in runs}):
        seen = _distinct(run.record.fingerprint[:SHORT] for run in runs if images.named(run.record) == name)
        if len(seen) > 1:
            told.append(
                f"some of the runs on {name} know its images by names and sizes alone, so whether they contain the same"
                f" is unknown: fingerprints {_listed(seen)}"
            )
    told += _code(runs)
    known = all(run.record.code for run in runs)  # digests of the code are more exact than commits
    commits = [] if known else [("commit", "at different commits")]
    for key, what in [*commits, *((key, f"with different {key}") for key in _VERSIONS)]:
        seen = _distinct(_value(run, key) for run in runs)
        if len(seen) > 1:
            told.append(f"the runs were made {what}: {_listed(seen)}")
    machines = _distinct(_hardware(run) for run in runs)
    if len(machines) > 1:
        told.append(f"the runs were made on different hardware, so their seconds do not compare: {_listed(machines)}")
    on_cpu = [run.record.environment for run in runs if not run.record.environment.get("driver")]
    if len(kernels := _distinct(str(each["cpu_kernels"]) for each in on_cpu if each.get("cpu_kernels"))) > 1:
        told.append(
            f"CPUs trained the runs with different kernels of PyTorch, which round differently: {_listed(kernels)}"
        )
    if len(sharing := _distinct(str(run.record.environment.get("shared", 1)) for run in runs)) > 1:
        told.append(
            f"the runs had a GPU for themselves or shared it (runs at a time on a GPU: {_listed(sharing)}), so their"
            " seconds do not compare"
        )
    dirty = sum(run.record.environment.get("dirty") is True for run in runs)
    if dirty:
        told.append(f"{dirty} of {len(runs)} runs were made with uncommitted changes: their commit does not say it all")
    return told


def of_devices(runs: Sequence[Run], columns: Sequence[Column], at: str) -> list[str]:
    """Return warnings on runs of one setting that were trained or measured on different devices, as clauses.

    Devices round differently, and TF32 rounds the factors of products to 10 bits, so such runs differ in more than
    their seeds. Records that do not name their device are taken to be as the others.
    """
    finished = [run for run in runs if run.record.status == "finished"]
    told = []
    if len(devices := _distinct(filter(None, map(_device, finished)))) > 1:
        told.append(f"trained on different devices, which round differently: {_listed(devices)}")
    if len(arithmetic := _distinct(filter(None, map(_arithmetic, finished)))) > 1:
        told.append(f"trained by GPUs in different arithmetic: {_listed(arithmetic)}")
    measured: dict[tuple[str, ...], list[str]] = {}
    for column in columns:
        scored = [(run, score) for run in finished if (score := run_score.found(run, column, at)) is not None]
        later = [run.measured_on.get(key_of(score)) for run, score in scored]
        on = _distinct(device or _device(run) or "" for device, (run, _) in zip(later, scored, strict=True))
        if any(later) and len(known := tuple(filter(None, on))) > 1:
            measured.setdefault(known, []).append(column.label)
    for known, labels in measured.items():
        told.append(
            f"{', '.join(labels)} measured on different devices: {_listed(known)} (imgrec evaluate --device"
            " chooses one)"
        )
    return told


def _device(run: Run) -> str | None:
    name = run.record.environment.get("device")
    return name if isinstance(name, str) else None


def _arithmetic(run: Run) -> str | None:
    """Return in words whether a GPU trained the run in TF32; None where that is not known, or where no GPU did."""
    operations = run.record.environment.get("tf32")
    if not isinstance(operations, list):
        return None
    return f"TF32 in {' and '.join(map(str, operations))}" if operations else "no TF32"


def line(runs: Sequence[Run]) -> str:
    """Return commit, versions and hardware in one line."""
    parts = [f"commit {_listed(_distinct(_value(run, 'commit') for run in runs))}"]
    parts += [f"{key} {_listed(_distinct(_value(run, key) for run in runs))}" for key in _VERSIONS[1:5]]
    parts.append(_listed(_distinct(_hardware(run) for run in runs)))
    return ", ".join(parts) + "."


def _code(runs: Sequence[Run]) -> list[str]:
    """Return warnings from the digests of the code.

    Digests include uncommitted changes, and leave out code that no run imports.
    """
    told = []
    if differ := codechange.between(run.record for run in runs):
        told.append(f"the runs were made by different code: {codebase.named(differ)}")
    if mixed := [run for run in runs if run.record.code_since]:
        names = sorted({name for run in mixed for part in run.record.code_since for name in part})
        told.append(
            f"{len(mixed)} of {len(runs)} runs went on with other code than they began with: {codebase.named(names)}"
        )
    if any(run.record.code for run in runs) and (silent := sum(not run.record.code for run in runs)):
        told.append(f"{silent} of {len(runs)} runs say nothing of their code, so that it cannot be compared")
    return told


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


def _listed(values: Sequence[str]) -> str:
    return " / ".join(values[:_LISTED]) + (f" and {len(values) - _LISTED} more" if len(values) > _LISTED else "")
