"""Fixtures of `imgrec table` on created runs: its output, and its error messages."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import Shown, of_markdown

Said = tuple[int, str, str]


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of records are laid out, none of which must outlive a power cut."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def runs(workplace: Path) -> Path:
    """A folder for runs, in an empty working folder."""
    return Path("outputs")


@pytest.fixture
def table(command: Callable[..., Said], runs: Path) -> Callable[..., Shown]:
    """`imgrec table outputs WORDS...`, which succeeds without a word on stderr: what it shows."""

    def show(*words: str) -> Shown:
        code, out, err = command("table", str(runs), *words)
        assert (code, err) == (0, "")
        return of_markdown(out)

    return show


@pytest.fixture
def refusal(command: Callable[..., Said], runs: Path) -> Callable[..., str]:
    """`imgrec table outputs WORDS...`, which is refused as wrong usage: its one sentence."""

    def refuse(*words: str, places: tuple[str, ...] = ()) -> str:
        code, out, err = command("table", *(places or (str(runs),)), *words)
        assert (code, out) == (2, "")
        (line,) = err.splitlines()
        assert line.startswith("imgrec: ")
        assert "Error" not in line, "an exception's name is no sentence"
        return line.removeprefix("imgrec: ")

    return refuse
