"""Determine the runs of a sweep: their configurations, their folders, and what is left to do. Imports no torch."""

import dataclasses
import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imgrec import disk, predictions, records, run_lookup, runfolder
from imgrec.config.compose import compose
from imgrec.config.overrides import key_of
from imgrec.config.root import Config
from imgrec.data import inventory
from imgrec.data.inventory import Inventory
from imgrec.errors import RunError, UsageError, shown
from imgrec.job import Job
from imgrec.records import Record
from imgrec.run_lookup import Place
from imgrec.runfolder import RECORD, SWEEP_FILES

log = logging.getLogger(__name__)

State = Literal["finished", "failed", "running", "to resume", "to do"]

PATIENCE = 70.0  # seconds in which the processes of a killed pool save their runs or exit


@dataclass(frozen=True, kw_only=True)
class SweepJob(Job):
    """A run of a sweep.

    Attributes:
        seen: The run's images.
        known: The file of a finished record of the run in another place.
    """

    seen: Inventory
    known: Path | None = None

    def record(self) -> Record | None:
        """Return the record in the run's folder, else the known record."""
        found = super().record()
        return found if found is not None or self.known is None else records.read(self.known)

    def adopt(self) -> bool:
        """Copy the known record and its stored predictions into the run's folder, if that has no record.

        Returns:
            True if something was copied.
        """
        if self.known is None or runfolder.look(self.folder) is not None:
            return False
        record = records.read(self.known)
        runfolder.prepare(self.folder)
        packed = [path for path in predictions.beside(self.known) if path.is_file()]
        for path in packed:
            if kept := predictions.read(path, only=record.run_id).get(record.run_id):
                predictions.write(self.folder / predictions.NAME, {record.run_id: kept})
        records.write(self.folder / RECORD, record)
        return True


class Jobs:
    """Create the jobs of one sweep, each once.

    Args:
        sweep: The folder of the sweep's runs.
        varied: The keys that a new folder's name contains; None for all keys of the command. Existing folders keep
            their names.
        known: A folder of records. Its finished records count as finished runs of the sweep.

    Raises:
        UsageError: The folder `known` does not exist.
    """

    def __init__(self, sweep: Path, varied: Collection[str] | None = None, known: Path | None = None) -> None:
        self.sweep = sweep
        self._known = _finished_in(known) if known is not None else {}
        self.known = len(self._known)
        self._varied = varied
        self._made: dict[tuple[str, ...], SweepJob] = {}
        self._by_id: dict[str, SweepJob] = {}
        self._seen: dict[str, Inventory] = {}
        self._served: dict[str, tuple[str, str]] = {}  # by older id: the images' fingerprint and place
        self._warned = False

    def job(self, words: Sequence[str]) -> SweepJob:
        """Return the run of these overrides; the same object for other overrides of the same run.

        Raises:
            UsageError: The overrides are invalid.
        """
        key = tuple(text for text in words if not text.startswith("hydra."))
        if key not in self._made:
            config = compose(key)
            images = repr(config.data)
            if images not in self._seen:  # a folder is listed once
                self._seen[images] = inventory.take(config.data)
            seen = self._seen[images]
            named = [text for text in key if self._varied is None or key_of(text) in self._varied]
            found = self._place(config, named, seen)
            own, folder = found.run_id, found.folder
            if own not in self._by_id:
                self._tell_unknown(found)
                self._by_id[own] = SweepJob(
                    config=config,
                    folder=folder,
                    run_id=own,
                    fingerprint=found.seen.fingerprint,
                    begins_with=found.begins_with,
                    command=key,
                    seen=found.seen,
                    known=self._known.get(own),
                )
            self._made[key] = self._by_id[own]
        return self._made[key]

    def _place(self, config: Config, named: Sequence[str], seen: Inventory) -> Place:
        """Return the place of a run, as `run_lookup.place`.

        The first images that have an older id keep it. Other images with that id get their new id.
        """
        found = run_lookup.place(config, named, seen, within=self.sweep)
        if found.seen.by_contents:
            return found
        root = shown(config.data.place or config.data.name)
        kept, place = self._served.setdefault(found.run_id, (seen.fingerprint, root))
        if kept == seen.fingerprint:
            return found
        log.warning(
            "%s: its record knows the images by names and sizes alone, which those in data.root=%s and data.root=%s"
            " share, but not their contents; it is kept for data.root=%s, and data.root=%s gets a run of its own",
            shown(found.folder),
            *(place, root, place, root),
        )
        return run_lookup.place(config, named, dataclasses.replace(seen, older=None), within=self.sweep)

    def _tell_unknown(self, found: Place) -> None:
        """Warn once if the records of this sweep identify their images by names and sizes only."""
        if not found.seen.by_contents and not self._warned:
            self._warned = True
            log.warning("%s", run_lookup.unknown_contents(found.folder, anew="another hydra.sweep.dir"))


def _finished_in(folder: Path) -> dict[str, Path]:
    """Return the files of finished records in a folder, by the ids of their runs."""
    if not folder.is_dir():
        raise UsageError(
            f"sweep.known={shown(folder)} must be a folder of records, and does not exist; make it, or leave"
            " sweep.known out"
        )
    found = {}
    paths = [path for path in sorted(folder.glob("*.json")) if path.name not in SWEEP_FILES]
    for path in paths:
        if (record := records.read(path)).status == "finished":
            found[record.run_id] = path
    if not paths and (inner := next((path.parent for path in sorted(folder.glob("*/*.json"))), None)) is not None:
        raise UsageError(
            f"sweep.known={shown(folder)} must be the folder of the records themselves, and holds none; give"
            f" sweep.known={shown(inner)}, or leave it out"
        )
    return found


def state(job: Job, *, until: float) -> State:
    """Return what is left to do of the run.

    Args:
        job: The run.
        until: The time (time.monotonic) until which to wait for a process of an earlier sweep.
    """
    while (record := job.record()) is not None and record.status == "running" and time.monotonic() < until:
        time.sleep(0.1)
    if record is None:
        return "to do"
    runfolder.refuse_stranger(job.folder, job.run_id)
    if record.status == "finished":
        return "finished"
    if record.status in ("failed", "running"):
        return "failed" if record.status == "failed" else "running"
    return "to resume"


def settled(job: Job, since: float, *, before: Record | None = None) -> tuple[bool, Record | None]:
    """Return what a job has left that ended on another machine, once that is certain.

    A shared file system may show the job's record late. So a record that is missing, says running, or is an earlier
    process' counts only after a minute.

    Args:
        job: The run.
        since: When it ended, or was found to have ended (time.monotonic).
        before: The run's record before the job began.

    Returns:
        True and the record, or True and None for a run without one; False as long as it is to be asked again.

    Raises:
        RunError: The record is still damaged after a minute.
    """
    disk.refresh(job.folder)
    if time.monotonic() - since > runfolder.SHOWN_AFTER:
        return True, job.record()
    try:
        record = records.read(job.folder / RECORD)
    except RunError:
        return False, None
    if record.status == "running" or record == before:
        return False, None
    return True, record


def deaths(job: Job) -> int:
    """Return how many processes of the run in a row ended without recording their end, since its newest checkpoint.

    The cause is unknown: the process itself, or a signal from outside. Such a run is tried again after the others.
    """
    record = job.record()
    if record is None or record.status != "interrupted" or records.read(job.folder / RECORD).status != "running":
        return 0  # a process that was asked to end has written this into the record
    return record.deaths + 1 if record.progress.get("from") == runfolder.newest_state(job.folder) else 0


def reason_of(job: Job) -> str:
    """Return why the run failed, according to its record, or that it was interrupted."""
    record = job.record()
    if record is not None and record.status == "interrupted":
        return "it was interrupted, and the same command goes on with it"
    _, _, reason = ((record.error if record else None) or "").partition(": ")
    return reason or "no reason recorded"


def closed_dead(folder: Path, reason: str) -> str:
    """Set the record of a run to failed if it says running although its process has ended.

    Returns:
        The reason, and why the record could not be closed if so.
    """
    if not (folder / RECORD).is_file():
        return reason
    try:
        with runfolder.lock(folder):
            record = records.read(folder / RECORD)
            if record.status == "running":
                record.status = "failed"
                record.error = f"{RunError.__name__}: {reason}; mend it, and give sweep.retry_failed=true"
                records.write(folder / RECORD, record)
    except RunError as error:  # a full disk, or another process of the run still has the lock
        return f"{reason}, and its record could not be closed: {error}"
    return reason


def note_pruned(folder: Path, reason: str) -> None:
    """Say in the record of an interrupted run that a search has ended it. Its state is kept, and it can be resumed."""
    if not (folder / RECORD).is_file():
        return
    with runfolder.lock(folder):
        record = records.read(folder / RECORD)
        if record.status in ("running", "interrupted"):
            record.status, record.error = "interrupted", f"{records.PRUNED}: {reason}"
            records.write(folder / RECORD, record)


def objective(record: Record, *, at: str = "best") -> float | None:
    """Return the score that a search maximises: a validation top1, never the test set's. None if there is none.

    Args:
        record: The run's record.
        at: best for the best score, else the last; last for the last only.
    """
    for place in ("best", "last") if at == "best" else (at,):
        if score := record.score("top1", split="val", at=place):
            return score.value
    return None


def each_once(jobs: Sequence[SweepJob]) -> list[SweepJob]:
    """Return the jobs without repetitions."""
    return list({job.run_id: job for job in jobs}.values())
