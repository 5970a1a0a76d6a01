"""Test a run's folder: its place, the process that uses it, and the run's state."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imgrec import records, run_lookup, runfolder
from imgrec.config.compose import compose
from imgrec.config.identity import SHORT
from imgrec.config.root import Config
from imgrec.data import inventory
from imgrec.errors import RunError, UsageError
from imgrec.records import Record

OVERRIDES = ["data=digits", "optimizer=adam"]


@pytest.fixture(scope="module")
def config() -> Config:
    return compose(OVERRIDES)


def id_of(config: Config) -> str:
    return run_lookup.identity(config, inventory.take(config.data).fingerprint)


def leave(folder: Path, run_id: str, status: str = "finished") -> Path:
    """A folder as a run of that id leaves it."""
    folder.mkdir(parents=True)
    given: dict[str, Any] = {"experiment": None, "study": None, "command": [], "config": {}, "fingerprint": ""}
    records.write(folder / runfolder.RECORD, Record(run_id=run_id, status=status, **given))
    return folder


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of tmp_path until it is killed."""
    code = (
        "import sys, time; from pathlib import Path; from imgrec import runfolder\n"
        "with runfolder.lock(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_relative_root_leads_to_the_runs_own_images_from_anywhere(
    image_folder: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, other = workplace / "project", workplace / "scratch"
    shutil.copytree(image_folder, project / "images")
    shutil.copytree(image_folder, other / "images")
    (other / "images/bars/00.png").unlink()
    relative = compose(["data=folder", "data.root=images"])
    monkeypatch.chdir(project)
    run = leave(other / "run", "0" * 64)
    record = records.read(run / runfolder.RECORD)
    record.fingerprint = inventory.take(relative.data).fingerprint
    assert run_lookup.settled(run, record, relative) is relative
    monkeypatch.chdir(other)
    record.cwd = str(project)
    assert run_lookup.settled(run, record, relative).data.root == str(project / "images")  # type: ignore[union-attr]
    record.fingerprint = inventory.take(relative.data).fingerprint
    monkeypatch.chdir(project)
    assert run_lookup.settled(run, record, relative).data.root == str(other / "images")  # type: ignore[union-attr]
    record.fingerprint = "0" * 64
    assert run_lookup.settled(run, record, relative) is relative, "what the path means here, to be refused"


def test_the_id_takes_in_the_images(image_folder: Path) -> None:
    folder = compose(["data=folder", f"data.root={image_folder}"])
    before = id_of(folder)
    assert before == id_of(compose(["data=folder", f"data.root={image_folder}/", "data.num_workers=2"]))
    (image_folder / "disc" / "00.png").write_bytes(b"x")
    assert id_of(folder) != before


def test_runs_lie_by_study_then_recipe_then_default(config: Config) -> None:
    assert run_lookup.group(config) == Path("outputs/default")
    assert run_lookup.group(compose(["experiment=demo"])) == Path("outputs/demo")
    swept = compose(["experiment=demo"])
    swept.study = "wide"
    assert run_lookup.group(swept) == Path("outputs/wide")


def test_a_new_run_gets_a_name_that_reads(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = id_of(config)
    name = f"data-digits_optimizer-adam_seed-0-{own[:SHORT]}"
    assert run_lookup.locate(config, OVERRIDES, own, within=tmp_path) == tmp_path / name
    monkeypatch.chdir(tmp_path)
    assert run_lookup.locate(config, OVERRIDES, own) == Path("outputs/default") / name


def test_a_run_is_found_by_its_id_under_any_name(config: Config, tmp_path: Path) -> None:
    own = id_of(config)
    there = leave(tmp_path / f"other-words-{own[:SHORT]}", own)
    leave(tmp_path / f"twin-{own[:SHORT]}", own[:SHORT] + "0" * 56)  # the short digits meet, the id decides
    (tmp_path / f"empty-{own[:SHORT]}").mkdir()
    assert run_lookup.locate(config, OVERRIDES, own, within=tmp_path) == there


def test_force_makes_a_new_take_beside_a_finished_run_and_goes_on_with_an_unfinished_one(
    config: Config, tmp_path: Path
) -> None:
    own = id_of(config)
    forced = compose([*OVERRIDES, "force=true"])
    assert id_of(forced) == own
    first = run_lookup.locate(forced, OVERRIDES, own, within=tmp_path)
    leave(first, own)
    stem = first.name.removesuffix(f"-{own[:SHORT]}")
    for take in (2, 3):
        folder = run_lookup.locate(forced, ["optimizer=adam"], own, within=tmp_path)
        assert folder.name == f"{stem}_take-{take}-{own[:SHORT]}"
        leave(folder, own, "interrupted")
        assert run_lookup.locate(forced, OVERRIDES, own, within=tmp_path) == folder
        leave_finished(folder, own)
        assert run_lookup.locate(config, OVERRIDES, own, within=tmp_path) == folder


def leave_finished(folder: Path, run_id: str) -> None:
    (folder / runfolder.RECORD).unlink()
    folder.rmdir()
    leave(folder, run_id)


def test_a_deleted_take_leaves_no_name_to_be_given_twice(config: Config, tmp_path: Path) -> None:
    own = id_of(config)
    forced = compose([*OVERRIDES, "force=true"])
    for name in ("x_take-2", "x_take-10"):
        leave(tmp_path / f"{name}-{own[:SHORT]}", own)
    assert run_lookup.locate(config, OVERRIDES, own, within=tmp_path).name == f"x_take-10-{own[:SHORT]}"
    assert run_lookup.locate(forced, OVERRIDES, own, within=tmp_path).name == f"x_take-11-{own[:SHORT]}"


def test_a_damaged_record_stops_the_search_by_name(config: Config, tmp_path: Path) -> None:
    own = id_of(config)
    folder = tmp_path / f"x-{own[:SHORT]}"
    folder.mkdir()
    (folder / "record.json").write_text("{")
    with pytest.raises(RunError, match=r"record\.json must be a record that imgrec wrote"):
        run_lookup.locate(config, OVERRIDES, own, within=tmp_path)


def test_a_locked_folder_refuses_another_process_until_its_owner_dies(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    with (
        pytest.raises(RunError, match=rf"is in use: process {holder.pid} on .+ runs it; wait for it, or stop it"),
        runfolder.lock(tmp_path),
    ):
        pytest.fail("two processes hold one folder")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with runfolder.lock(tmp_path):
        assert _is_held(tmp_path)


def _is_held(folder: Path) -> bool:
    """Whether somebody holds the lock exclusively."""
    with (folder / "run.lock").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_an_older_version_that_holds_a_folder_refuses_this_one(tmp_path: Path) -> None:
    with (tmp_path / "run.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="is in use: another process runs it; wait"), runfolder.lock(tmp_path):
            pytest.fail("two processes hold one folder")
    with runfolder.lock(tmp_path):
        assert _is_held(tmp_path)


def test_a_lock_is_free_again_after_its_block(tmp_path: Path) -> None:
    for _ in range(2):
        with runfolder.lock(tmp_path):
            assert _is_held(tmp_path)
    with pytest.raises(KeyError), runfolder.lock(tmp_path):
        raise KeyError
    with runfolder.lock(tmp_path):
        assert _is_held(tmp_path)


def test_running_without_its_process_means_interrupted(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    given: dict[str, Any] = {"experiment": None, "study": None, "command": [], "config": {}, "fingerprint": ""}
    records.write(tmp_path / "record.json", Record(run_id="a" * 64, status="running", **given))
    found = runfolder.look(tmp_path)
    assert found is not None
    assert found.status == "running"
    holder.kill()
    holder.wait()
    found = runfolder.look(tmp_path)
    assert found is not None
    assert found.status == "interrupted"
    assert records.read(tmp_path / "record.json").status == "running"  # looking writes nothing


def test_those_who_look_do_not_take_each_other_for_the_run(tmp_path: Path) -> None:
    folder = leave(tmp_path / "x", "a" * 64, "running")
    with runfolder.lock(folder):
        assert _is_held(folder)
    with (folder / "run.lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)  # as another `look` does at this moment
        found = runfolder.look(folder)
    assert found is not None
    assert found.status == "interrupted"


def test_looking_leaves_no_trace(tmp_path: Path) -> None:
    assert runfolder.look(tmp_path) is None
    folder = leave(tmp_path / "x", "a" * 64, "running")
    found = runfolder.look(folder)
    assert found is not None
    assert found.status == "interrupted"
    assert [path.name for path in folder.iterdir()] == ["record.json"]


@pytest.mark.parametrize("status", ["finished", "failed", "interrupted"])
def test_a_run_that_ended_keeps_its_status(tmp_path: Path, status: str) -> None:
    found = runfolder.look(leave(tmp_path / "x", "a" * 64, status))
    assert found is not None
    assert found.status == status


def test_a_stranger_s_folder_is_refused(tmp_path: Path) -> None:
    runfolder.refuse_stranger(tmp_path / "new", "a" * 64)
    folder = leave(tmp_path / "x", "a" * 64)
    runfolder.refuse_stranger(folder, "a" * 64)
    with pytest.raises(UsageError) as refusal:
        runfolder.refuse_stranger(folder, "b" * 64)
    assert str(refusal.value) == (
        f"{folder} must hold this run or none, and it holds run aaaaaaaa, not bbbbbbbb; give another hydra.run.dir"
    )


def test_a_prepared_folder_can_be_written_to_and_is_empty(tmp_path: Path) -> None:
    runfolder.prepare(tmp_path / "a" / "b")
    runfolder.prepare(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder, reason in ((tmp_path / "file", "File exists"), (tmp_path / "file" / "x", "Not a directory")):
        with pytest.raises(RunError) as refusal:
            runfolder.prepare(folder)
        assert str(refusal.value) == (
            f"{folder} must be a folder that can be written to, got: {reason}; give another hydra.run.dir, or call"
            " imgrec from another folder"
        )


def test_a_read_only_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:  # root may write anywhere: let the disk say what it says to others
        opened = os.open

        def refused(path: Any, flags: int, *rest: Any, **options: Any) -> int:
            if flags & os.O_CREAT:
                raise OSError(errno.EACCES, "Permission denied")
            return opened(path, flags, *rest, **options)

        monkeypatch.setattr(os, "open", refused)
    else:
        tmp_path.chmod(0o500)
    with pytest.raises(RunError, match="must be a folder that can be written to, got: Permission denied; give another"):
        runfolder.prepare(tmp_path)
    tmp_path.chmod(0o700)
