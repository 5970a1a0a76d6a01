"""Test curves.csv: its rows are on the disk before the checkpoint that follows them, and complete or refused."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imgrec import launch
from imgrec.curve_file import read_curves
from imgrec.errors import RunError
from imgrec.training.curves import Curves


@pytest.mark.long
def test_rows_are_on_the_disk_before_each_checkpoint(tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    forced: list[str] = []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        forced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    launch.train([*tiny, "trainer.max_epochs=2"])
    saves = [place for place, name in enumerate(forced) if "last.ckpt" in name and "sha256" not in name]
    rows = [place for place, name in enumerate(forced) if name == "curves.csv"]
    assert len(saves) == 2
    assert rows[0] < saves[0] < rows[1] < saves[1]


def test_a_last_line_that_was_cut_off_is_left_out_also_within_its_number(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_text("step,epoch,split,metric,value\n1,1,train,loss,0.25\n2,1,train,loss,0.1")
    assert [row["step"] for row in read_curves(path)] == ["1"]


@pytest.mark.parametrize(
    "damage", [b"\0\0\0\0\n", b"2,1,train\n", b"two,1,train,loss,0.5\n", b"2,1,train,loss,\xff\n", b"2,1,train,loss,\n"]
)
def test_rows_that_cannot_be_read_are_refused_by_name(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "curves.csv"
    path.write_bytes(b"step,epoch,split,metric,value\n1,1,train,loss,0.25\n" + damage + b"3,1,train,loss,0.5\n")
    before = path.read_bytes()
    with pytest.raises(RunError, match=r"curves\.csv must be a table of step, epoch, split, .* and cannot be read"):
        Curves(path).start(3)
    assert path.read_bytes() == before
    path.unlink()
    Curves(path).start(3)
    assert read_curves(path) == []


HEADING = b"step,epoch,split,metric,value\n"
ROWS = b"1,1,train,loss,0.25\n2,1,train,loss,0.5\n"


@pytest.mark.parametrize(
    "tail", [b"\0\0\0\0\n", b"3,1,train,lo\n4,1,train,loss,0.5\n", b"4,1,train,loss,0.5\n\xff\xfe\n5,1,train", b"3,1,t"]
)
def test_a_damaged_tail_beyond_the_step_is_cut_off(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "curves.csv"
    path.write_bytes(HEADING + ROWS + tail)
    curves = Curves(path)
    assert curves.start(2, rows=2) == 0
    assert path.read_bytes() == HEADING + ROWS
    curves.log_metrics({"train/loss": 0.75, "epoch": 1}, step=3)
    assert path.read_bytes() == HEADING + ROWS + b"3,1,train,loss,0.75\n"
    curves.finalize("success")


def test_rows_that_were_there_and_are_gone_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_bytes(HEADING + ROWS[:20] + b"\0\0\0\n")
    assert Curves(path).start(2, rows=2) == 1
    path.unlink()
    assert Curves(path).start(2, rows=2) == 2


@pytest.mark.parametrize("what", ["removed", "replaced"])
def test_a_file_that_goes_while_the_run_trains_is_written_again(
    tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "curves.csv"
    curves = Curves(path)
    curves.start(0)
    curves.log_metrics({"train/loss": 0.25, "epoch": 1}, step=1)
    path.unlink()
    if what == "replaced":
        path.write_text("mine now\n")
    curves.log_metrics({"train/loss": 0.5, "epoch": 1}, step=2)
    assert path.read_bytes() == HEADING + ROWS
    assert "was removed or replaced while the run trains: its rows are written again" in caplog.text
    path.unlink()
    curves.sync()
    assert path.read_bytes() == HEADING + ROWS
    assert curves.rows == 2
    curves.finalize("success")


@pytest.mark.parametrize("what", ["removed", "replaced"])
def test_a_run_whose_folder_goes_ends_and_leaves_no_half_of_one(
    tiny: list[str], workplace: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    from imgrec.training.saver import Saver

    end = Saver.on_train_batch_end

    def watched(self: Saver, trainer: Any, *rest: Any) -> None:
        end(self, trainer, *rest)
        if trainer.global_step == 4:
            shutil.rmtree("run")
            if what == "replaced":
                Path("run").mkdir()

    monkeypatch.setattr(Saver, "on_train_batch_end", watched)
    with pytest.raises(RunError, match="run must stay while its run trains, and was removed or replaced; put it back"):
        launch.train([*tiny, "trainer.max_epochs=1", "hydra.run.dir=run"])
    assert not Path("run/checkpoints").exists()


@pytest.mark.long
def test_a_run_goes_on_without_rows_and_says_so(
    tiny: list[str], workplace: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., tuple[int, str, str]]
) -> None:
    from imgrec.training import run

    def fail(*arguments: Any) -> Any:
        raise OSError("the disk went away")

    words = [*tiny, "trainer.max_epochs=1", "hydra.run.dir=run"]
    with monkeypatch.context() as patched:
        patched.setattr(run.final, "read", fail)
        with pytest.raises(RunError, match="the disk went away"):
            launch.train(words)
    logged = len(read_curves(Path("run/curves.csv")))
    Path("run/curves.csv").unlink()
    code, out, err = command("train", *words)
    assert code == 0
    assert f"curves.csv lacks {logged} rows that were logged up to step 8" in err
    assert f"curves.csv lacks {logged} rows" in out
    assert launch.runfolder.record_of(Path("run")).progress["curve_rows_lost"] == logged
