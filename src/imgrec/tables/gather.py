"""Collect the runs below some folders, each once, and report what could not be read. Imports no torch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imgrec import codebase, codechange, predictions, records, runfolder
from imgrec.config.identity import SHORT
from imgrec.errors import RunError, UsageError, shown
from imgrec.records import Record
from imgrec.runfolder import EVALUATIONS, RECORD, SWEEP_FILES, VERIFICATIONS
from imgrec.tables import evaluations, images
from imgrec.tables.evaluations import key_of

_LISTED = 3  # runs with several copies that are named; the rest is counted
_PLACES = 2  # paths of such a run that are named; the rest is counted
RECORDS = "records"  # a folder whose JSON files are records, one for each run, as in experiments/


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run's record, with the scores that were measured later.

    Attributes:
        path: The record's file.
        folder: The run's folder, with curves and diagnostics; None for a record without a folder.
        kept_in: For each place whose predictions the record names (`test/clean/last`), the files in the folder that
            should contain them; empty for a record without a folder.
        measured_on: For each score that was measured later (`evaluations.key_of`), the name of the device, where it is
            known.
    """

    path: Path
    folder: Path | None
    record: Record
    kept_in: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    measured_on: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.folder.name if self.folder else self.path.stem

    @property
    def seed(self) -> int:
        return int(self.record.config.get("seed", 0))


@dataclass(kw_only=True)
class Gathered:
    """The runs that were found.

    Attributes:
        runs: One for each run id, in the order of their paths.
        problems: Files that should have been records, and why they are not.
        notes: What was left out although it could be read.
    """

    runs: list[Run] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def gather(places: Sequence[Path]) -> Gathered:
    """Read every run below the places.

    Args:
        places: Run folders, folders that contain them at any depth, `records` folders, or single records.

    Raises:
        UsageError: A place does not exist, or none of them contains a record.
    """
    found = Gathered()
    by_id: dict[str, list[Run]] = {}
    files = [file for place in places for file in _files(place, found.problems)]
    for path in dict.fromkeys(files):
        try:
            run = _read(path, found)
        except (RunError, OSError) as error:
            found.problems.append(str(error))
            continue
        by_id.setdefault(run.record.run_id, []).append(run)
    if not files:
        where = ", ".join(shown(place) for place in places)
        raise UsageError(
            f"{where} must hold runs ({RECORD}), and none was found; name the folder of a sweep or of runs"
        )
    for takes in by_id.values():
        found.runs.append(_newest(takes))
    images.name([run.record for run in found.runs])
    found.notes += _copy_notes([takes for takes in by_id.values() if len(takes) > 1])
    return found


def _copy_notes(several: Sequence[Sequence[Run]]) -> list[str]:
    """Return notes on which copy of a run counts.

    Runs whose copies ended with different results are all named, and come before runs with identical copies.
    """
    differing = [takes for takes in several if difference_of(takes)]
    alike = [takes for takes in several if not difference_of(takes)]
    notes = []
    for takes in (*differing, *alike[:_LISTED]):
        counted = _newest(takes)
        others = [shown(take.path) for take in takes if take is not counted]
        where = ", ".join(others[:_PLACES]) + (f" or {len(others) - _PLACES} more" if len(others) > _PLACES else "")
        times = f"{len(takes)} times{difference_of(takes)}"
        run_id = counted.record.run_id[:SHORT]
        notes.append(f"run {run_id} lies there {times} and counts once: {shown(counted.path)}, not {where}")
    if rest := len(alike[_LISTED:]):
        notes.append(f"so {'do' if rest > 1 else 'does'} {rest} more run{'s' * (rest > 1)}")
    return notes


def _finished(takes: Sequence[Run]) -> list[Run]:
    return [take for take in takes if take.record.status == "finished"]


def difference_of(takes: Sequence[Run]) -> str:
    """Return in words whether finished runs of one training have different weights, and the possible causes.

    These are threads, machines and code.
    """
    found = [take.record for take in _finished(takes) if take.record.weights]
    if all(record.weights == found[0].weights for record in found):
        return ""
    threads = sorted({str(record.environment.get("threads")) for record in found})
    why = [f"threads: {', '.join(threads)}"] if len(threads) > 1 else []
    for key, name in (("cpu_kernels", "kernels"), ("platform", "platform")):
        if len(machines := sorted({str(record.environment.get(key)) for record in found})) > 1:
            why.append(f"{name}: {', '.join(machines)}")
            break
    if other := codechange.between(found):
        why.append(f"code: {codebase.named(other)}")
    return " with different weights" + (f" ({'; '.join(why)})" if why else "")


def _files(place: Path, problems: list[str]) -> Iterator[Path]:
    """Yield the files that are records, or should be. Folders that cannot be read are added to the problems."""
    if place.is_file():
        if place.name not in SWEEP_FILES:  # a shell's wildcard can name these files
            yield place
    elif not place.is_dir():
        raise UsageError(f"{shown(place)} must be a folder of runs or a record, and does not exist; check the path")
    elif stands(place / RECORD):
        yield place / RECORD
    else:
        yield from _lone_records(place)
        yield from _below(place, problems)


def _below(place: Path, problems: list[str]) -> Iterator[Path]:
    try:
        folders = sorted(path for path in place.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        problems.append(_unreadable(place, error))
        return
    for folder in folders:
        try:
            is_run = stands(folder / RECORD)
        except OSError as error:
            problems.append(_unreadable(folder, error))
            continue
        if is_run:
            yield folder / RECORD
        elif folder.name != VERIFICATIONS:
            if folder.name == RECORDS:
                yield from _lone_records(folder)
            if not folder.is_symlink():  # a link may lead to a parent folder
                yield from _below(folder, problems)


def stands(path: Path) -> bool:
    """Return True if the path exists, even if it cannot be read.

    Raises:
        OSError: The folder cannot be searched.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def _unreadable(folder: Path, error: OSError) -> str:
    return f"{shown(folder)} cannot be read: {error.strerror}; mend its permissions"


def _lone_records(folder: Path) -> Iterator[Path]:
    yield from (path for path in sorted(folder.glob("*.json")) if path.name not in SWEEP_FILES)


def _read(path: Path, found: Gathered) -> Run:
    folder = path.parent if path.name == RECORD else None
    if folder is None:
        return Run(path=path, folder=None, record=records.read(path))
    record = runfolder.record_of(folder)
    kept_in = {key: [folder / predictions.NAME] for key in record.predictions}
    own = list(record.scores)
    measurements = []
    measured_on: dict[str, str] = {}
    for file in sorted((folder / EVALUATIONS).glob("*.json")):
        try:
            measurements.append((file, evaluations.of_run(file, record)))
        except RunError as error:
            found.problems.append(str(error))
    # in one order for all runs, as files are named by digests: defaults come first
    for file, later in sorted(measurements, key=lambda each: evaluations.order(each[1], record)):
        if reason := evaluations.why_excluded(later, record):
            found.notes.append(f"left out, as {reason}: {shown(file)}")
            continue
        found.notes += evaluations.differing(later, record, own, file)
        new = evaluations.new_scores(later, record)
        if later.device is not None:
            measured_on |= {key_of(score): later.device for score in new}
        record.scores += new
        for key, digest in later.predictions.items():
            if key not in record.predictions and evaluations.is_counted(later, record, key):
                record.predictions[key] = digest
            if record.predictions.get(key) == digest:
                kept_in.setdefault(key, []).append(file.with_suffix(".npz"))
            elif key not in record.predictions:
                found.notes.append(f"predictions left out, as another score than theirs counts: {key} of {shown(file)}")
    return Run(path=path, folder=folder, record=record, kept_in=kept_in, measured_on=measured_on)


def _newest(takes: Sequence[Run]) -> Run:
    """Return the last take that has finished, or else the last one. Of identical copies, the first named one counts."""
    return max(_finished(takes) or takes, key=lambda take: runfolder.take_of(take.name))
