"""Files of other kinds in class folders: one line about them."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from imgrec.config.data import Folder
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
