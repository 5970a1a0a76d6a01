"""Test files in folders of other users: what is read, what is written, and what is left behind."""

import contextlib
import errno
import os
import signal
from pathlib import Path

import pytest

from imgrec import disk


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside" / "precious"
    path.parent.mkdir()
    path.write_text("precious")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


def write(path: Path, text: str) -> None:
    with disk.Partial(path) as new:
        new.file.write(text.encode())
        new.place()


def test_a_file_takes_the_place_of_a_link_and_what_the_link_names_stays(folder: Path, outside: Path) -> None:
    for name in ("there", "absent"):
        path = folder / name
        path.symlink_to(outside.with_name("precious" if name == "there" else name))
        write(path, "new")
        assert (path.is_symlink(), path.read_text()) == (False, "new")
    assert [entry.name for entry in outside.parent.iterdir()] == ["precious"]
    assert outside.read_text() == "precious"


@pytest.mark.parametrize("name", [".x.json.partial", ".x.json.00.partial"])
def test_no_temporary_name_can_be_guessed_and_links_under_such_names_are_removed(
    folder: Path, outside: Path, name: str
) -> None:
    (folder / name).symlink_to(outside)
    write(folder / "x.json", "new")
    assert outside.read_text() == "precious"
    assert [entry.name for entry in folder.iterdir()] == ["x.json"]


def test_rows_are_appended_to_files_alone(folder: Path, outside: Path) -> None:
    path = folder / "rows"
    for row in (b"a", b"b"):
        with os.fdopen(disk.appending(path), "ab") as file:
            file.write(row)
    assert path.read_bytes() == b"ab"
    (folder / "link").symlink_to(outside)
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    for name, reason in (("link", "it is a link, and no"), ("pipe", "it is a named pipe"), ("folder", "directory")):
        with pytest.raises(OSError, match=reason):
            disk.appending(folder / name)
    assert outside.read_text() == "precious"


def test_the_file_of_a_killed_process_is_removed_and_that_of_a_living_one_stays(folder: Path) -> None:
    begun, say_begun = os.pipe()
    writer = os.fork()
    if writer == 0:
        with disk.Partial(folder / "x") as new:
            new.file.write(b"half")
            new.file.flush()
            os.write(say_begun, b".")
            signal.pause()
    os.read(begun, 1)
    write(folder / "y", "whole")
    assert len(list(folder.glob(".x.*.partial"))) == 1, "its owner still writes"
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    write(folder / "y", "whole")
    assert [entry.name for entry in folder.iterdir()] == ["y"]


def test_what_fails_leaves_the_old_file_alone(folder: Path) -> None:
    write(folder / "x", "old")
    with contextlib.suppress(ZeroDivisionError), disk.Partial(folder / "x") as new:
        new.file.write(b"half")
        raise ZeroDivisionError
    assert (folder / "x").read_text() == "old"
    assert [entry.name for entry in folder.iterdir()] == ["x"]


def test_a_name_as_long_as_file_systems_take_is_written(folder: Path) -> None:
    path = folder / ("é" * 127)
    write(path, "new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("linked", [True, False])
def test_a_copy_is_a_file_of_its_own_name(
    folder: Path, outside: Path, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    (folder / "link").symlink_to(outside)
    if not linked:

        def refused(*_: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refused)
    for source in (outside, folder / "link"):
        with disk.Partial(folder / "copy", like=source) as new:
            new.place()
        copy = folder / "copy"
        assert (copy.is_symlink(), copy.read_text()) == (False, "precious")
        assert copy.samefile(outside) is (linked and source is outside)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_a_folder_that_cannot_be_forced_to_the_disk_is_passed_over_and_a_broken_disk_is_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    fsync = os.fsync

    def of_files_alone(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().is_dir():
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", of_files_alone)
    if code == errno.EIO:
        with pytest.raises(OSError, match="Input/output error"):
            write(folder / "x", "new")
    else:
        write(folder / "x", "new")
    assert (folder / "x").read_text() == "new"


def test_regular_files_alone_are_read_and_none_is_waited_for(folder: Path, outside: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    (folder / "zero").symlink_to("/dev/zero")
    (folder / "lost").symlink_to("nowhere")
    (folder / "link").symlink_to(outside)
    assert disk.content(folder / "link", most=100) == b"precious"
    for name, reason in (
        ("pipe", "it is a named pipe, which is no regular file"),
        ("folder", "it is a folder, which is no regular file"),
        ("zero", "it is a device, which is no regular file"),
        ("lost", "No such file"),
    ):
        with pytest.raises(OSError, match=reason):
            disk.content(folder / name, most=100)
    with pytest.raises(OSError, match="it has 8 bytes, and at most 7 are read"):
        disk.content(outside, most=7)
