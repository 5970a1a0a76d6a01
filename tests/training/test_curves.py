"""curves.csv: on the disk before the checkpoint after which its rows are not logged again, and whole or refused."""

import os
from pathlib import Path

import pytest

from imgrec import launch
from imgrec.errors import RunError
from imgrec.records import read_curves
from imgrec.training.curves import Curves


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
