"""Test files that several machines write and read in one folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imgrec import disk


def half_written(folder: Path) -> list[str]:
    return sorted(path.name.split(".")[1] for path in folder.glob(".*.partial"))


@pytest.mark.parametrize("flock", ["refused", "local", ""])
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
