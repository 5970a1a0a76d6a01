"""Test paths as users have them, from the command to the record and back."""

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from imgrec.report.context import _shell

Said = tuple[int, str, str]
ODD = "Fotos für 日本, [neu] it's = $x"


@pytest.mark.long
def test_a_run_over_a_path_of_any_text(
    command: Callable[..., Said], tiny: list[str], tiny_images: Path, workplace: Path
) -> None:
    """HOME is the working folder here."""
    shutil.copytree(tiny_images, workplace / ODD)
    words = [*tiny, f"data.root=~/{ODD}", "trainer.max_epochs=1"]
    code, out, err = command("train", *words, "hydra.run.dir=~/läufe/a=b c")
    assert code == 0, err
    run = Path("läufe/a=b c")
    record = json.loads((run / "record.json").read_text())
    assert record["config"]["data.root"] == f"~/{ODD}"
    assert command("evaluate", str(run))[0] == 0
    assert command("train", *words, f"hydra.run.dir=läufe/../{run}")[1].startswith("finished already: ")
    pasted = shlex.split(_shell(["imgrec", "train", *record["command"]]))[1:]
    assert command(*pasted, "hydra.run.dir=~/läufe/a=b c")[1].startswith("finished already: "), "the report's own line"
    longer = ("trainer.max_epochs=2", "resume_override=[trainer.max_epochs]")
    code, out, err = command("train", f"resume=~/{run}", *longer)
    assert code == 0, err
    assert out.startswith("finished: outputs/default/")
    sweep = ("-m", "seed=0,1", "hydra.sweep.dir=~/läufe")
    code, out, err = command("train", *words, *sweep)
    assert code == 0, err
    assert len(list(Path("läufe").glob("*/record.json"))) == 3


@pytest.mark.slow
def test_a_shell_needs_no_quotes_of_its_own_for_a_plain_name(
    tiny: list[str], tiny_images: Path, workplace: Path
) -> None:
    shutil.copytree(tiny_images, workplace / "größe")
    line = f"{shlex.quote(sys.executable)} -m imgrec train {shlex.join(tiny)} data.root=~/größe trainer.max_epochs=1"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
