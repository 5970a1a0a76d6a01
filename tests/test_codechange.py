"""Test runs that were made with other code: the warnings, and the refusals before anything is written."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import one_line, tree

from imgrec import codebase, launch
from imgrec.errors import RunError

Said = tuple[int, str, str]
ROOT = Path(__file__).parents[1]
OTHER = "imgrec.losses"
FINISHED = "finished with other code: imgrec.losses has changed since; another hydra.run.dir does it over"
GOES_ON = "goes on with other code: imgrec.losses has changed since"
UNKNOWN = "says nothing of its code"


def alter(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Let `change` alter the record in that folder."""
    rows = json.loads((folder / "record.json").read_text())
    change(rows)
    (folder / "record.json").write_text(json.dumps(rows))


def by_other_code(rows: dict[str, Any]) -> None:
    rows["code"][OTHER] = "0" * 12 + " " + "1" * 12


def by_unknown_code(rows: dict[str, Any]) -> None:
    del rows["code"], rows["code_since"]  # as older versions wrote it


def cut(rows: dict[str, Any]) -> None:
    rows["status"] = "interrupted"


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What has been said of code since it was last asked: one line, or nothing."""

    def lines() -> str:
        found = list({line for line in (*caplog.messages, *capfd.readouterr().err.splitlines()) if "code" in line})
        caplog.clear()
        assert len(found) < 2, found
        return found[0] if found else ""

    return lines


@pytest.fixture
def words(tiny: list[str], finished: Path) -> list[str]:
    """The words of the finished run in ./run."""
    return [*tiny, "trainer.max_epochs=1", "hydra.run.dir=run"]


def test_a_run_of_the_code_that_is_there_is_finished_without_a_word(words: list[str], told: Callable[[], str]) -> None:
    outcome = launch.train([*words, "code=refuse"])
    assert outcome.already
    assert outcome.record.code == codebase.of_run()
    assert told() == ""


@pytest.mark.parametrize(
    ("made", "rule", "expected"),
    [
        (by_other_code, "auto", f"run {FINISHED}"),
        (by_other_code, "warn", f"run {FINISHED}"),
        (by_other_code, "ignore", ""),
        (by_other_code, "refuse", "refused: run must have finished with the code that is there now (code=refuse)"),
        (by_unknown_code, "auto", f"run {UNKNOWN}"),
        (by_unknown_code, "refuse", f"run {UNKNOWN}"),
        (by_unknown_code, "ignore", ""),
    ],
)
def test_a_finished_run_of_other_code(
    words: list[str],
    told: Callable[[], str],
    workplace: Path,
    made: Any,
    rule: str,
    expected: str,
    outcome: Callable[[str, str], None],
) -> None:
    alter(Path("run"), made)
    before = tree(workplace)
    try:
        assert launch.train([*words, f"code={rule}"]).already
        said = told()
    except RunError as error:
        said = f"refused: {error}"
    assert said.startswith(expected)
    assert bool(said) is bool(expected)
    assert tree(workplace) == before
    outcome(f"a finished run {made.__name__.replace('_', ' ')}, code={rule}", said or "accepted")


def test_force_does_a_run_of_other_code_over(tiny: list[str], one_run: Path, told: Callable[[], str]) -> None:
    words = [*tiny, "trainer.max_epochs=1"]
    name = f"trained-{json.loads((one_run / 'record.json').read_text())['run_id'][:8]}"
    shutil.copytree(one_run, Path("outputs/default") / name)
    alter(Path("outputs/default") / name, by_other_code)
    assert launch.train(words).already
    assert "force=true does it over, in a new folder, and code=ignore" in told()
    again = launch.train([*words, "force=true"])
    assert not again.already
    assert again.record.code == codebase.of_run()
    assert launch.train([*words, "code=refuse"]).folder == again.folder
    assert told() == ""


@pytest.mark.parametrize(
    ("made", "rule", "expected"),
    [
        (by_other_code, "auto", "refused: run must go on with the code that it began with, and imgrec.losses has"),
        (by_other_code, "refuse", "refused: run must go on with the code that it began with, and imgrec.losses has"),
        (by_other_code, "warn", GOES_ON),
        (by_other_code, "ignore", ""),
        (by_unknown_code, "refuse", UNKNOWN),
    ],
)
def test_a_run_that_goes_on_with_other_code(
    words: list[str],
    told: Callable[[], str],
    workplace: Path,
    made: Any,
    rule: str,
    expected: str,
    outcome: Callable[[str, str], None],
) -> None:
    alter(Path("run"), made)
    alter(Path("run"), cut)
    began = json.loads(Path("run/record.json").read_text()).get("code", {})
    before = tree(workplace)
    try:
        record = launch.train([*words, f"code={rule}"]).record
    except RunError as error:
        said = f"refused: {error}"
        assert tree(workplace) == before
    else:
        said = told()
        assert record.status == "finished"
        assert record.code == began
        now = codebase.of_run()
        assert record.code_since == ([{OTHER: now[OTHER]}] if began else [])
    assert expected in said
    assert bool(said) is bool(expected)
    outcome(f"a run {made.__name__.replace('_', ' ')} that goes on, code={rule}", said or "accepted")


@pytest.mark.long
def test_a_run_of_two_codes_says_so_ever_after(words: list[str], told: Callable[[], str]) -> None:
    """Permission to continue is given once: it is no part of the command that `resume=RUN` repeats."""
    alter(Path("run"), by_other_code)
    alter(Path("run"), cut)
    with pytest.raises(RunError, match="run must go on with the code that it began with"):
        launch.train(["resume=run"])
    launch.train(["resume=run", "code=warn"])
    assert GOES_ON in told()
    assert launch.train(words).already
    assert FINISHED in told()
    alter(Path("run"), cut)
    with pytest.raises(RunError, match=r"imgrec\.losses has changed since"):
        launch.train(["resume=run"])


def test_a_run_without_a_state_begins_with_the_code_that_is_there(words: list[str]) -> None:
    alter(Path("run"), by_other_code)
    alter(Path("run"), cut)
    shutil.rmtree("run/checkpoints")
    record = launch.train(words).record
    assert (record.code, record.code_since) == (codebase.of_run(), [])


@pytest.mark.long
def test_a_new_folder_is_a_way_out(words: list[str]) -> None:
    alter(Path("run"), by_other_code)
    alter(Path("run"), cut)
    with pytest.raises(RunError, match=r"a new run needs another hydra\.run\.dir$"):
        launch.train(words)
    assert launch.train([*words, "hydra.run.dir=anew"]).record.code == codebase.of_run()


@pytest.mark.long
def test_a_new_run_out_of_the_state_of_other_code(finished: Path, workplace: Path, told: Callable[[], str]) -> None:
    alter(finished, by_other_code)
    before = tree(workplace)
    longer = ["resume=run", "trainer.max_epochs=2", "resume_override=[trainer.max_epochs]"]
    with pytest.raises(RunError, match=r"run must go on with the code that it began with, and imgrec\.losses has"):
        launch.train(longer)
    assert tree(workplace) == before
    record = launch.train([*longer, "code=warn"]).record
    assert GOES_ON in told()
    assert record.code[OTHER] == "0" * 12 + " " + "1" * 12
    assert record.code_since == [{OTHER: codebase.of_run()[OTHER]}]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the project's own code, to be edited."""
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, tmp_path / "clone" / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "clone"


@pytest.mark.long
def test_an_edited_formula_is_told_of_at_once(clone: Path, words: list[str], workplace: Path) -> None:
    """A new process reports it, as after an edit, without importing torch."""

    def again() -> str:
        script = (
            "import sys; from imgrec import cli\ntry:\n    cli.main()\nfinally:\n    assert 'torch' not in sys.modules"
        )
        given = {**os.environ, "PYTHONPATH": str(clone / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        asked = [sys.executable, "-c", script, "train", *words]
        done = subprocess.run(asked, env=given, capture_output=True, text=True, cwd=workplace)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("finished already: ")
        return done.stderr

    path = clone / "src/imgrec/losses.py"
    text = path.read_text()
    path.write_text(f"# a remark\n{text}")
    assert again() == ""
    path.write_text(text.replace("return F.cross_entropy(", "return 2 * F.cross_entropy(", 1))
    assert path.read_text() != text
    assert FINISHED in again()


@pytest.fixture
def swept(tiny: list[str], one_run: Path) -> tuple[list[str], Path]:
    """The words of a sweep of two finished runs, and the folder of the first."""
    from imgrec.sweeps.grid import Grid
    from imgrec.sweeps.run import Sweep

    words = [*tiny, "trainer.max_epochs=1", "seed=0,1"]
    jobs = Grid().planned(words, Sweep(words).jobs)
    for job in jobs:
        shutil.copytree(one_run, job.folder)
        alter(job.folder, lambda rows, own=job.run_id: rows.update(run_id=own))
    return words, jobs[0].folder


@pytest.mark.long
def test_a_sweep_tells_of_other_code_once(
    swept: tuple[list[str], Path], command: Callable[..., Said], workplace: Path
) -> None:
    words, folder = swept
    alter(folder, by_other_code)
    code, _, err = command("train", "-m", *words)
    told = "1 of 2 runs finished with other code (imgrec.losses has changed since): another hydra.sweep.dir does all"
    assert code == 0
    assert err.startswith(told)
    assert err.count("other code") == 1
    before = tree(folder)
    code, _, err = command("train", "-m", *words, "code=ignore")
    assert (code, err) == (0, "2 runs: 2 finished\n")
    code, _, err = command("train", "-m", *words, "code=refuse")
    assert code == 1
    assert "1 of 2 runs must have finished with the code that is there now (code=refuse)" in one_line(err)
    assert tree(folder) == before


@pytest.mark.long
def test_a_sweep_with_a_run_to_go_on_with_is_refused(
    swept: tuple[list[str], Path], command: Callable[..., Said], workplace: Path
) -> None:
    words, folder = swept
    alter(folder, by_other_code)
    alter(folder, cut)
    before = tree(workplace)
    code, _, err = command("train", "-m", *words)
    assert code == 1
    assert f"1 of 2 runs must go on with the code that they began with, such as {folder}, and imgrec.losses" in err
    assert one_line(err).endswith("do all in another hydra.sweep.dir, or allow it with code=warn")
    assert tree(workplace) == before
    code, _, err = command("train", "-m", *words, "code=warn")
    assert code == 0, err
    assert err.startswith("1 of 2 runs go on with other code (imgrec.losses has changed since)")
    code, _, err = command("train", "-m", *words, "code=ignore,warn")
    assert code == 2
    assert "code holds for a whole sweep" in one_line(err)
