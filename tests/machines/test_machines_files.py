"""Test files that several machines write and read in one folder."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imgrec import disk


def half_written(folder: Path) -> list[str]:
    return sorted(path.name.split(".")[1] for path in folder.glob(".*.partial"))


_SLOW = [pytest.param(flock, marks=pytest.mark.slow) for flock in ("refused", "")]


@pytest.mark.parametrize("flock", ["local", *_SLOW])
@pytest.mark.long
def test_a_half_written_file_is_removed_by_its_own_machine_when_its_process_has_ended(
    node: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flock: str
) -> None:
    own = {"FAKE_FLOCK": flock} if flock else {}
    first, other = node("node7.site", **own), node("node9", **own)
    second = node("node7.site", **({"FAKE_FLOCK": "refused"} if flock else {}))  # local: held there, as on any machine
    folder = tmp_path / "run"
    folder.mkdir()
    assert first.ask("begin", folder / "x") == "begun"
    for each in (other, second):
        assert each.ask("write", folder / "y", "whole") == "written"
        assert half_written(folder) == ["x"], "its process lives"
    first.kill()
    assert other.ask("write", folder / "y", "whole") == "written"
    assert half_written(folder) == ["x"], "of another machine nobody knows"
    monkeypatch.setattr(disk, "_AGE", -1.0)
    disk.clean(folder)  # as a third machine, a day later
    assert half_written(folder) == []
    monkeypatch.undo()
    assert second.ask("begin", folder / "z") == "begun"
    second.kill()
    assert node("node7.site", **own).ask("write", folder / "y", "whole") == "written"
    assert half_written(folder) == []
    assert [path.name for path in folder.iterdir()] == ["y"]


@pytest.mark.parametrize("code", [errno.ESTALE, errno.ENOENT])
@pytest.mark.parametrize("moment", ["open", "read"])
@pytest.mark.long
def test_a_file_that_is_refused_for_a_moment_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, moment: str
) -> None:
    path = tmp_path / "record.json"
    path.write_text("whole")
    names, left = {"open": "open", "read": "fstat"}, [2]
    real = getattr(os, names[moment])

    def refused(*words: Any, **options: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise OSError(code, os.strerror(code), str(path))
        return real(*words, **options)

    monkeypatch.setattr(os, names[moment], refused)
    assert disk.content(path, most=10) == b"whole"
    left[0] = 2
    with disk.opened(path) as file:
        assert file.read() == b"whole"
    left[0] = 100
    with pytest.raises(OSError, match=os.strerror(code)):
        disk.content(path, most=10)
    refusals, left[0] = 100 - left[0], 0
    assert refusals == 4


def test_a_file_that_is_missing_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lost").symlink_to("nowhere")
    monkeypatch.setattr("time.sleep", None)
    for name in ("missing", "lost"):
        with pytest.raises(FileNotFoundError):
            disk.content(tmp_path / name, most=10)


@pytest.mark.long
def test_a_file_that_another_machine_sees_late_is_read_once_it_is_there(
    node: Callable[..., Any], tmp_path: Path
) -> None:
    nine = node("node9", FAKE_LATE="0.4")
    (tmp_path / "x.json").write_text("whole")
    assert nine.ask("read", tmp_path / "x.json") == "whole"
