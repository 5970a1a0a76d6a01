"""Test the warning about files of other kinds in class folders."""

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from imgrec.components.data.folder import Folder
from imgrec.data.sources import load

Draw = Callable[..., list[Path]]


@pytest.fixture
def said(tmp_path: Path, draw_images: Draw, caplog: pytest.LogCaptureFixture) -> Callable[..., list[str]]:
    """The warnings of loading two drawn classes in which files of these names lie as well."""

    def load_with(*names: str, split: str = "") -> list[str]:
        for name in ("ant", "bee"):
            draw_images(tmp_path / split / name, 10)
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("no image")
        load(Folder(root=str(tmp_path), image_size=8))
        return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]

    return load_with


def test_one_line_gives_number_and_first_names(said: Callable[..., list[str]], tmp_path: Path) -> None:
    lines = said("bee/notes.txt", "ant/x.gif", "ant/deep/y.GIF", "bee/z", "bee/jpg")
    assert lines == [
        f"{tmp_path}: 5 files of other kinds not read: 'ant/x.gif', 'ant/deep/y.GIF', 'bee/jpg', ...",
    ]


def test_one_is_one(said: Callable[..., list[str]], tmp_path: Path) -> None:
    assert said("ant/a\nb.txt") == [f"{tmp_path}: 1 file of other kinds not read: 'ant/a\\nb.txt'"]


def test_some_are_not_worth_a_word(said: Callable[..., list[str]]) -> None:
    assert said("README.md", "ant/Thumbs.db", "ant/.DS_Store", "bee/desktop.ini", "bee/.cache/x.bin") == []


def test_splits_are_looked_through_and_what_is_ignored_is_not(said: Callable[..., list[str]], tmp_path: Path) -> None:
    lines = said("train/ant/x.gif", "spare/y.gif", split="train")
    assert lines == [
        f"{tmp_path}: ignored: spare; only train, val and test are read",
        f"{tmp_path}: 1 file of other kinds not read: 'train/ant/x.gif'",
    ]


def test_their_names_come_as_a_walk_meets_them(
    said: Callable[..., list[str]], tmp_path: Path, draw_images: Draw
) -> None:
    for split in ("val", "test"):
        draw_images(tmp_path / split / "ant", 1)
    lines = said(
        "train/ant/x.txt", "val/ant/x.txt", "test/ant/deep/x.txt", "test/ant/y.txt", "test/z.txt", split="train"
    )
    assert lines == [
        f"{tmp_path}: 5 files of other kinds not read: 'test/z.txt', 'test/ant/y.txt', 'test/ant/deep/x.txt', ...",
    ]


def test_links_to_folders_are_not_followed_and_what_is_no_regular_file_counts(
    said: Callable[..., list[str]], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, draw_images: Draw
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    draw_images(elsewhere / "deep", 10)
    for folder in (elsewhere, elsewhere / "deep"):
        (folder / "notes.txt").touch()
    (tmp_path / "ant").mkdir()
    (tmp_path / "ant" / "link").symlink_to(elsewhere)
    (tmp_path / "cow").symlink_to(elsewhere)
    (tmp_path / "ant" / "file.txt").symlink_to(elsewhere / "notes.txt")
    for suffix in ("", ".png"):
        (tmp_path / "ant" / f"nowhere{suffix}").symlink_to("gone")
        os.mkfifo(tmp_path / "ant" / f"pipe{suffix}")
    assert said() == [f"{tmp_path}: 3 files of other kinds not read: 'ant/file.txt', 'ant/nowhere', 'ant/pipe'"]
