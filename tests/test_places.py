"""Test hostile conditions: closed or full streams, folders that Hydra misreads, damaged files, unusual settings."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import one_line

from imgrec import launch

Said = tuple[int, str, str]


def _onto(path: str, number: int) -> None:
    opened = os.open(path, os.O_WRONLY)
    os.dup2(opened, number)
    os.close(opened)


def stderr_closed() -> None:
    os.close(2)


def stderr_full() -> None:
    _onto("/dev/full", 2)


def terminal_gone() -> None:
    ours, theirs = os.openpty()
    os.dup2(theirs, 2)
    os.close(theirs)
    os.close(ours)


def status(folder: str) -> str:
    found: str = json.loads(Path(folder, "record.json").read_text())["status"]
    return found


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (terminal_gone, ("trainer.progress=rich", "hydra.run.dir=run")),
        pytest.param(stderr_closed, ("-m", "hydra.sweep.dir=runs"), marks=pytest.mark.slow),
        pytest.param(stderr_full, ("trainer.progress=rich", "hydra.run.dir=run"), marks=pytest.mark.slow),
    ],
)
@pytest.mark.long
def test_a_run_needs_nobody_who_reads(
    tiny: list[str], imgrec: Callable[..., Any], outcome: Callable[[str, str], None], before: Any, words: tuple[str]
) -> None:
    child = imgrec("train", *tiny, "trainer.max_epochs=1", *words, before=before)
    assert child.wait() == 0, child.log.read_text()
    (record,) = Path().glob("run*/**/record.json")
    assert json.loads(record.read_text())["status"] == "finished"
    assert "reading test at last" in record.with_name("train.log").read_text()
    outcome(before.__name__.replace("_", ", "), "the run finishes; its train.log has what it said")


@pytest.mark.long
def test_a_full_stdout_costs_the_print_alone(
    tiny: list[str], imgrec: Callable[..., Any], outcome: Callable[[str, str], None]
) -> None:
    words = ["train", *tiny, "trainer.max_epochs=1", "hydra.run.dir=run"]
    child = imgrec(*words, before=lambda: _onto("/dev/full", 1))
    assert child.wait() == 1
    said = one_line(child.log.read_text())
    assert said.startswith("imgrec: stdout must take the result, got: No space left on device; the work itself is done")
    assert status("run") == "finished"
    again = imgrec(*words)
    assert again.wait() == 0
    assert "finished already" in again.log.read_text()
    for other in (["table", "run"], ["evaluate", "run"], ["--version"], ["train", "--help"]):
        child = imgrec(*other, before=lambda: _onto("/dev/full", 1))
        assert child.wait() == 1
        assert one_line(child.log.read_text()).startswith("imgrec: stdout must take the result, got: No space left")
    outcome("stdout on a full disk", said)


def test_an_encoding_without_the_characters(finished: Path, imgrec: Callable[..., Any]) -> None:
    def latin() -> None:
        sys.stdout = os.fdopen(os.dup(1), "w", encoding="latin-1")

    child = imgrec("table", str(finished), "--scores", "top1,loss", before=latin)
    assert child.wait() == 0, child.log.read_text()
    assert r"\u2013" in child.log.read_bytes().decode("latin-1")


def test_a_working_folder_that_is_gone(imgrec: Callable[..., Any], outcome: Callable[[str, str], None]) -> None:
    def leave() -> None:
        Path("gone").mkdir()
        os.chdir("gone")
        Path("../gone").resolve().rmdir()

    for words in (["train", "experiment=demo"], ["table", "."], ["report", "."]):
        child = imgrec(*words, before=leave)
        assert child.wait() == 1
        said = one_line(child.log.read_text())
        assert said == "imgrec: the working folder must exist, got: No such file or directory; cd to one that does"
    outcome("a working folder that was deleted", said)


def test_a_path_that_hydra_would_resolve_is_refused(
    tiny: list[str], command: Callable[..., Said], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = command("train", "-m", *tiny, "seed=0,1", "hydra.sweep.dir='sw/${seed}'")
    assert code == 2
    assert "imgrec: hydra.sweep.dir must be a plain path, got 'sw/${seed}'; leave it out" in one_line(err)
    before = sorted(workplace.iterdir())
    here = workplace / "${seed}"
    here.mkdir()
    monkeypatch.chdir(here)
    for words in (["train"], ["train", "-m"]):
        code, _, err = command(*words, *tiny, "trainer.max_epochs=1")
        assert code == 2
        assert "the working folder must have no ${ in its path, which Hydra resolves, got '" in one_line(err)
    here.rmdir()
    assert sorted(workplace.iterdir()) == before


def test_a_backslash_is_one(tiny: list[str], command: Callable[..., Said], workplace: Path) -> None:
    before = set(workplace.iterdir())
    code, _, err = command("train", *tiny, "trainer.max_epochs=1", r"hydra.run.dir='a\b\'s'")
    assert code == 0, err
    assert {path.name for path in set(workplace.iterdir()) - before} == {r"a\b's"}
    assert status(r"a\b's") == "finished"


@pytest.mark.long
def test_damaged_files_of_a_sweep_are_named(tiny: list[str], command: Callable[..., Said], workplace: Path) -> None:
    folder = workplace / "sweep"
    folder.mkdir()
    words = [*tiny, "trainer.max_epochs=1", "hydra.sweep.dir=sweep"]
    tuned = ["sweep=tuned", "sweep.tune=['optimizer.lr_scale=1,3']"]
    for damage in (b"{", b"\xff", b"[1]", b'[{"choice": [1]}]'):
        (folder / "tuning.json").write_bytes(damage)
        code, _, err = command("train", "-m", *words, *tuned)
        assert code == 1
        assert "imgrec: sweep/tuning.json must be what imgrec tuned, got " in one_line(err)
        assert "; remove it: " in one_line(err)
    assert [path.name for path in folder.iterdir()] == ["tuning.json"]
    (folder / "optuna.db").write_bytes(b"SQLite format 3\0" + b"damage" * 500)
    code, _, err = command("train", "-m", *words, "sweep=optuna", "sweep.trials=1", "optimizer.lr=interval(0.001,0.1)")
    assert code == 1
    assert "sweep/optuna.db must be a study that Optuna wrote, got " in one_line(err)


def test_locks_that_are_folders_are_named(tiny: list[str], command: Callable[..., Said], workplace: Path) -> None:
    (workplace / "run" / "run.lock").mkdir(parents=True)
    (workplace / "sweep" / "sweep.lock").mkdir(parents=True)
    code, _, err = command("train", *tiny, "hydra.run.dir=run")
    assert code == 1
    assert one_line(err).endswith("/run/run.lock must be a file to lock: Is a directory; remove it")
    code, _, err = command("train", "-m", *tiny, "hydra.sweep.dir=sweep")
    assert (code, one_line(err)) == (1, "imgrec: sweep/sweep.lock must be a file to lock: Is a directory; remove it")


@pytest.mark.slow
def test_streams_that_were_never_open(tiny: list[str]) -> None:
    words = " ".join(f"'{word}'" for word in [*tiny, "trainer.max_epochs=1"])
    for number, closed in enumerate(("2>&-", ">&- 2>&-", "<&- >&- 2>&-")):
        line = f"{sys.executable} -m imgrec train {words} hydra.run.dir=run{number} {closed}"
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert status(f"run{number}") == "finished"
        assert ("finished: " in done.stdout) == (closed == "2>&-")


@pytest.mark.slow
def test_warnings_that_shall_be_errors(tiny: list[str], outcome: Callable[[str, str], None]) -> None:
    words = [*tiny, "trainer.max_epochs=1", "trainer.tensorboard=true", "launcher=pool", "hydra.sweep.dir=runs"]
    variables = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-m", "imgrec", "train", "-m", *words], capture_output=True, text=True, env=variables
    )
    assert done.returncode == 0, done.stderr
    outcome("PYTHONWARNINGS=error", "the run, as ever")


@pytest.mark.slow  # a Python of its own: the encoding of names is settled when one starts
def test_a_class_with_an_umlaut_is_the_same_in_the_c_locale(
    tiny: list[str], tiny_images: Path, workplace: Path
) -> None:
    root = workplace / "images"
    shutil.copytree(tiny_images, root)
    (root / "row").rename(root / "größe")
    words = [*tiny, f"data.root={root}", "trainer.max_epochs=1", "hydra.run.dir=run"]
    ascii_names = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "imgrec", "train", *words],
        env={**os.environ, **ascii_names},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    outcome = launch.train(words)
    assert outcome.already, "the id is the same in another locale"
    assert json.loads(Path("run/diagnostics.json").read_text("utf-8"))["last"]["val"]["classes"][-1] == "größe"
