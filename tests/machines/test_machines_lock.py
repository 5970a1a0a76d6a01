"""Test that machines which share a file system never run one folder at the same time, and lose none."""

import dataclasses
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_runs import lay, run
from nodes import LEASE

from imgrec import lease, process_identity, records, runfolder

FLOCKS = ["local", pytest.param("refused", marks=pytest.mark.slow)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder, whose record says that it is running."""
    return lay(tmp_path, dataclasses.replace(run("loss=mse"), status="running"), "run").parent


@pytest.mark.parametrize("flock", FLOCKS)
@pytest.mark.long
def test_a_run_of_another_machine_is_refused_while_it_lives_and_goes_on_after_its_death(
    node: Callable[..., Any], folder: Path, flock: str
) -> None:
    seven, nine = node("node7", FAKE_FLOCK=flock, SLURM_JOB_ID="88"), node("node9", FAKE_FLOCK=flock)
    assert seven.ask("take", folder) == "taken"
    assert nine.ask("look", folder) == "running"
    who = f"process {seven.pid} on node7 (SLURM job 88)"
    assert nine.ask("take", folder) == f"RunError: {folder} is in use: {who} runs it; wait for it, or stop it"
    assert "waiting until it says that it lives" in nine.log.read_text()
    seven.kill()
    assert nine.ask("look", folder) == "running", "nobody on another machine can know yet"
    assert nine.ask("take", folder) == "taken"
    assert nine.ask("leave") == "left"
    assert (folder / "run.lock").read_bytes() == b""


@pytest.mark.parametrize("flock", FLOCKS)
@pytest.mark.long
def test_a_lock_that_was_given_up_is_free_at_once_for_everyone(
    node: Callable[..., Any], folder: Path, flock: str
) -> None:
    seven, nine = node("node7", FAKE_FLOCK=flock), node("node9", FAKE_FLOCK=flock)
    assert [seven.ask("take", folder), seven.ask("leave")] == ["taken", "left"]
    assert nine.ask("look", folder) == "interrupted"
    assert nine.ask("take", folder) == "taken"
    assert "waiting" not in nine.log.read_text()


@pytest.mark.slow
def test_clocks_that_are_off_by_a_day_change_nothing(node: Callable[..., Any], folder: Path) -> None:
    seven = node("node7", FAKE_FLOCK="local")
    others = [node(f"node{hours}", FAKE_FLOCK="local", FAKE_CLOCK=str(3600 * hours)) for hours in (-24, 24)]
    assert seven.ask("take", folder) == "taken"
    for other in others:
        assert other.ask("look", folder) == "running"
        assert "is in use" in other.ask("take", folder)
    seven.kill()
    assert others[0].ask("take", folder) == "taken"
    assert "is in use" in others[1].ask("take", folder)
    others[0].kill()
    assert others[1].ask("take", folder) == "taken"


@pytest.mark.long
def test_on_one_machine_the_end_of_the_process_is_seen_at_once_also_without_flock(
    node: Callable[..., Any], folder: Path
) -> None:
    first, second = (node("node7", FAKE_FLOCK="refused") for _ in range(2))
    assert first.ask("take", folder) == "taken"
    first.process.send_signal(signal.SIGSTOP)
    time.sleep(1.5 * LEASE)
    assert f"process {first.pid} on node7 runs it" in second.ask("take", folder), "a stopped process holds its lock"
    first.process.kill()  # not reaped yet: a process whose parent has not asked how it ended
    os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
    assert second.ask("look", folder) == "interrupted"
    assert second.ask("take", folder) == "taken"
    assert "waiting" not in second.log.read_text()


@pytest.mark.parametrize("flock", FLOCKS)
@pytest.mark.long
def test_a_process_that_was_stopped_for_longer_than_its_lease_leaves_the_run_to_the_one_that_took_it(
    node: Callable[..., Any], folder: Path, flock: str
) -> None:
    seven, nine = node("node7", FAKE_FLOCK=flock), node("node9", FAKE_FLOCK=flock)
    file = folder / "result"
    assert seven.ask("take", folder) == "taken"
    assert seven.ask("write", file, "seven") == "written"
    seven.process.send_signal(signal.SIGSTOP)
    seven.tell("write", file, "late")
    assert nine.ask("take", folder) == "taken"
    assert nine.ask("write", file, "nine") == "written"
    before = {path: path.read_bytes() for path in folder.iterdir()}
    seven.process.send_signal(signal.SIGCONT)
    said = seven.answer()
    assert said.startswith(f"LostFolderError: {folder} was taken by process {nine.pid} on node9, as this process had ")
    assert said.endswith(
        "(it was stopped, or the file system was out of reach): it changes nothing there and ends; leave the run to the"
        " other process"
    )
    assert seven.process.wait(30) == 1
    assert seven.log.read_text().startswith(f"{folder} was taken by process {nine.pid} on node9")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert nine.ask("write", file, "nine") == "written"


@pytest.mark.slow
def test_a_process_that_was_stopped_goes_on_if_nobody_took_its_folder(node: Callable[..., Any], folder: Path) -> None:
    seven, nine = node("node7", FAKE_FLOCK="local"), node("node9", FAKE_FLOCK="local")
    assert seven.ask("take", folder) == "taken"
    seven.process.send_signal(signal.SIGSTOP)
    time.sleep(1.5 * LEASE)
    assert nine.ask("look", folder) == "interrupted"
    seven.process.send_signal(signal.SIGCONT)
    assert seven.ask("write", folder / "result", "seven") == "written"
    assert nine.ask("look", folder) == "running"
    assert "is in use" in nine.ask("take", folder)


@pytest.mark.slow
def test_of_several_that_take_an_expired_lease_at_the_same_moment_one_wins(
    node: Callable[..., Any], tmp_path: Path
) -> None:
    nodes = [node(f"node{number}", FAKE_FLOCK="local") for number in range(4)]
    for turn in range(5):
        folder = tmp_path / f"run{turn}"
        folder.mkdir()
        (folder / "run.lock").write_bytes(of_another_host().to_line())
        os.utime(folder / "run.lock", (0, 0))
        if turn == 3:
            (folder / ".run.lock.turn").symlink_to("nowhere")
        if turn == 4:  # one that ended in its turn
            (folder / ".run.lock.turn").write_bytes(of_another_host().to_line())
            os.utime(folder / ".run.lock.turn", (0, 0))
        at = process_identity.elapsed() + 0.2
        for each in nodes:
            each.tell("take", folder, at)
        said = [each.answer() for each in nodes]
        assert said.count("taken") == 1, said
        winner = nodes[said.index("taken")]
        assert all("is in use" in answer for answer in said if answer != "taken"), said
        assert json.loads((folder / "run.lock").read_bytes())["pid"] == winner.pid
        assert [path.name for path in folder.iterdir()] == ["run.lock"]
        assert winner.ask("leave") == "left"


def of_another_host(**changes: Any) -> lease.Lease:
    return dataclasses.replace(lease.own(flock=True), **{"host": "elsewhere", **changes})


def hold(folder: Path, **changes: Any) -> None:
    (folder / "run.lock").write_bytes(of_another_host(**changes).to_line())


def status(folder: Path) -> str:
    record = runfolder.look(folder)
    assert record is not None
    return record.status


@pytest.mark.long
def test_a_lock_file_that_is_removed_ends_its_process(node: Callable[..., Any], folder: Path) -> None:
    seven = node("node7")
    assert seven.ask("take", folder) == "taken"
    (folder / "run.lock").unlink()
    assert seven.process.wait(30) == 1
    assert "or its run.lock was removed: this process changes nothing there and ends" in seven.log.read_text()


def test_a_process_id_that_was_given_again_does_not_keep_a_lock(folder: Path) -> None:
    start = process_identity.started(os.getpid())
    assert start is not None
    here = process_identity.machine().host
    for host, own, flock, expected in (
        (here, start, False, "running"),
        (here, start - 1, False, "interrupted"),
        (here, start, True, "interrupted"),  # it had an flock, and has none
        ("elsewhere", start - 1, True, "running"),
    ):
        hold(folder, host=host, start=own, flock=flock)
        assert status(folder) == expected


def test_a_damaged_lease_is_judged_by_its_age(folder: Path) -> None:
    (folder / "run.lock").write_bytes(b'{"host": 1}')
    assert status(folder) == "running"
    os.utime(folder / "run.lock", (0, 0))
    assert status(folder) == "interrupted"


def test_who_only_reads_is_told_what_is_not_known(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hold(folder, pid=1234, job="SLURM job 88")
    os.utime(folder / "run.lock", (0, 0))
    opened = os.open

    def read_only(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(30, "Read-only file system")
        return opened(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", read_only)
    monkeypatch.setattr("imgrec.file_clock._clocks", {})
    assert status(folder) == "running"
    assert "it is not known whether process 1234 on elsewhere (SLURM job 88) still runs it" in caplog.text


def test_looking_at_runs_that_have_ended_asks_for_no_lock_and_at_those_that_run_for_one_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    opened = os.open

    def counted(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        if flags & os.O_CREAT:
            made.append(str(path))
        return opened(path, flags, *rest, **options)

    for number in range(20):
        hold(lay(tmp_path, dataclasses.replace(run("loss=mse"), status="running"), f"run{number}").parent)
    ended = lay(tmp_path, run("loss=mse"), "ended").parent
    monkeypatch.setattr(os, "open", counted)
    monkeypatch.setattr("imgrec.file_clock._clocks", {})
    assert {status(tmp_path / f"run{number}") for number in range(20)} == {"running"}
    assert len(made) == 1
    monkeypatch.setattr(lease, "holder", None)
    assert status(ended) == "finished"


def test_a_run_that_ends_between_two_looks_is_not_taken_for_interrupted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(path: Path) -> None:
        record = records.read(folder / "record.json")
        record.status = "finished"
        records.write(folder / "record.json", record)

    monkeypatch.setattr(lease, "holder", ends)
    assert status(folder) == "finished"
