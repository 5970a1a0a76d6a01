"""Test what a sweep learns of a run that ended on another machine, through a file system that shows files late."""

import dataclasses
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_runs import lay, run
from waiting import wait_until

from imgrec import records, runfolder
from imgrec.config.compose import compose
from imgrec.errors import RunError
from imgrec.job import Job
from imgrec.sweeps.jobs import settled

DONE = run("loss=mse")
Ends = Callable[[str], None]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(config=compose(["data=digits"]), folder=tmp_path / "run", run_id=DONE.run_id, fingerprint="")


def write(job: Job, status: str) -> records.Record:
    record = dataclasses.replace(DONE, status=status)
    if not job.folder.exists():
        lay(job.folder.parent, record, job.folder.name)
    records.write(job.folder / "record.json", record)
    return records.read(job.folder / "record.json")


def test_an_end_that_is_recorded_counts_at_once(job: Job) -> None:
    for status in ("finished", "failed", "interrupted"):
        record = write(job, status)
        assert settled(job, time.monotonic()) == (True, record)


def test_a_record_that_is_missing_damaged_running_or_earlier_counts_after_a_minute(job: Job) -> None:
    now = time.monotonic()
    later = now - runfolder.SHOWN_AFTER - 1
    assert settled(job, now) == (False, None)
    assert settled(job, later) == (True, None)
    before = write(job, "failed")
    assert settled(job, now, before=before) == (False, None)
    assert settled(job, later, before=before) == (True, before)
    running = write(job, "running")
    assert settled(job, now, before=before) == (False, None), "the lock may be seen before the record"
    assert settled(job, later, before=before) == (True, dataclasses.replace(running, status="interrupted"))
    (job.folder / "record.json").write_text("{")
    assert settled(job, now) == (False, None)
    with pytest.raises(RunError, match="must be a record"):
        settled(job, later)


@pytest.mark.slow
def test_a_record_that_is_shown_late_is_waited_for(node: Callable[..., Any], job: Job) -> None:
    driver = node("login", FAKE_LATE="4")
    assert driver.ask("settled", job.folder) == "no"
    write(job, "finished")
    assert driver.ask("look", job.folder) == "nothing"
    assert driver.ask("settled", job.folder) == "no"
    wait_until(lambda: driver.ask("settled", job.folder) == "finished", pause=0.1)
    shutil.rmtree(job.folder)
    assert driver.ask("settled", job.folder) == "no"
