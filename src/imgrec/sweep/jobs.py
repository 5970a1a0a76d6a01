"""The runs that a sweep asks for: what each is, where it lies, and what is left to do of it. Imports no torch."""

import dataclasses
import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imgrec import predictions, records, run_lookup, runfolder, tuning_file
from imgrec.config.compose import compose
from imgrec.config.overrides import key_of
from imgrec.config.root import Config
from imgrec.data import inventory
from imgrec.data.inventory import Inventory
from imgrec.errors import RunError, UsageError, shown
from imgrec.job import Job
from imgrec.records import Record
from imgrec.run_lookup import Place
from imgrec.runfolder import RECORD

log = logging.getLogger(__name__)

State = Literal["finished", "failed", "to resume", "to do"]

PATIENCE = 70.0  # seconds in which the processes of a pool that was killed save their runs, or end themselves


@dataclass(frozen=True, kw_only=True)
class SweepJob(Job):
    """A run that a sweep asks for, with what is known of it before it begins.

    seen: its images. known: the file of a finished record of it that lies elsewhere.
    """

    seen: Inventory
    known: Path | None = None

    def record(self) -> Record | None:
        """The record in the run's folder, else the one that is known."""
        found = super().record()
        return found if found is not None or self.known is None else records.read(self.known)

    def adopt(self) -> bool:
        """Copy the known record, and what is kept of its predictions, into a folder that has none.

        Returns True if there was something to copy.
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
    """Makes the jobs of one sweep, each once. sweep: the folder of its runs.

    varied: the keys that new folders are named by; None: by every word. Folders that are there keep their names.
    known: a folder of records, of which finished ones count. Raises UsageError where there is no such folder.
    """

    def __init__(self, sweep: Path, varied: Collection[str] | None = None, known: Path | None = None) -> None:
        self.sweep = sweep
        self._known = _finished_in(known) if known is not None else {}
        self.known = len(self._known)
        self._varied = varied
        self._made: dict[tuple[str, ...], SweepJob] = {}
        self._by_id: dict[str, SweepJob] = {}
        self._seen: dict[str, Inventory] = {}
        self._served: dict[str, tuple[str, str]] = {}  # by an older id: its contents' fingerprint, and their place
        self._told = False

    def job(self, words: Sequence[str]) -> SweepJob:
        """The run of these words; the very same object for other words of the same run.

        Raises UsageError for words that make none.
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
                    command=key,
                    seen=found.seen,
                    known=self._known.get(own),
                )
            self._made[key] = self._by_id[own]
        return self._made[key]

    def _place(self, config: Config, named: Sequence[str], seen: Inventory) -> Place:
        """As `run_lookup.place`. An older id serves the first contents that ask for it; others have their new id."""
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
        """Say once that runs of this sweep know their images by names and sizes alone."""
        if not found.seen.by_contents and not self._told:
            self._told = True
            log.warning("%s", run_lookup.unknown_contents(found.folder, anew="another hydra.sweep.dir"))


def _finished_in(folder: Path) -> dict[str, Path]:
    """The files of finished records in a folder, by the ids of their runs."""
    if not folder.is_dir():
        raise UsageError(
            f"sweep.known={shown(folder)} must be a folder of records, and does not exist; make it, or leave"
            " sweep.known out"
        )
    found = {}
    paths = [path for path in sorted(folder.glob("*.json")) if path.name != tuning_file.NAME]
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
    """What is left to do of the run. Waits for a process of a sweep that is no more, `until` then (time.monotonic)."""
    while (record := job.record()) is not None and record.status == "running" and time.monotonic() < until:
        time.sleep(0.1)
    if record is None:
        return "to do"
    runfolder.refuse_stranger(job.folder, job.run_id)
    if record.status == "finished":
        return "finished"
    return "failed" if record.status == "failed" else "to resume"


def deaths(job: Job) -> int:
    """How many processes of the run have ended without a word, in a row, since it reached its newest checkpoint.

    Whether by themselves or killed from outside, nobody knows: such a run is tried again, after the others.
    """
    record = job.record()
    if record is None or record.status != "interrupted" or records.read(job.folder / RECORD).status != "running":
        return 0  # one that was asked to end says so itself, in the file
    return record.deaths + 1 if record.progress.get("from") == runfolder.newest_state(job.folder) else 0


def reason_of(job: Job) -> str:
    """Why the run failed, as its record tells, or that it was cut off."""
    record = job.record()
    if record is not None and record.status == "interrupted":
        return "it was interrupted, and the same command goes on with it"
    _, _, reason = ((record.error if record else None) or "").partition(": ")
    return reason or "no reason recorded"


def close_dead(folder: Path, reason: str) -> None:
    """Record as failed a run that still says running, though its process is gone. Without a record, nothing."""
    if not (folder / RECORD).is_file():
        return
    with runfolder.lock(folder):
        record = records.read(folder / RECORD)
        if record.status == "running":
            record.status = "failed"
            record.error = f"{RunError.__name__}: {reason}; mend it, and give sweep.retry_failed=true"
            records.write(folder / RECORD, record)


def objective(record: Record, *, at: str = "best") -> float | None:
    """What a search looks at: the best validation top1, else the last one, never the test set's.

    at: best, or last for the last one alone.
    """
    for place in ("best", "last") if at == "best" else (at,):
        if score := record.score("top1", split="val", at=place):
            return score.value
    return None


def each_once(jobs: Sequence[SweepJob]) -> list[SweepJob]:
    """A run that was asked for twice is one."""
    return list({job.run_id: job for job in jobs}.values())
