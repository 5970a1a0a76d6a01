"""Test the walks of docs/design.md against traces of small runs: functions are called in the order of each walk."""

import json
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SMALL = [
    "experiment=demo",
    "model.widths=[2]",
    "model.hidden=2",
    "data.batch_size=512",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
    "trainer.progress=none",
    "trainer.tensorboard=false",
]
TRACED = """
import json, os, sys
from pathlib import Path

import imgrec
from imgrec import launch
from imgrec.config import outside
from imgrec.sweeps.run import Sweep
from imgrec.tables import command as tables

top, here = os.path.dirname(imgrec.__file__), os.getcwd()
calls = []
known = {{}}  # by code: the name of its function, if a walk names it


def note(frame, event, argument):
    if event == "call":
        code = frame.f_code
        if code not in known:
            known[code] = name_of(code)
        if known[code]:
            calls.append(known[code])


def name_of(code):
    if not code.co_filename.startswith((top, here)):
        return None
    place = os.path.relpath(code.co_filename, top) if code.co_filename.startswith(top) else "my_loss.py"
    name = place.removesuffix(".py").replace(os.sep, ".") + "." + code.co_qualname
    return name if name in named else None


def traced(action):
    calls.clear()
    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return list(calls)


named, small = set({named!r}), {small!r}
asked = tables.request(scores="top1", at="best", split=None, protocol=None, baseline=[], where=[])
# a class is found in the package, or in the working folder's my_loss.py
Path("my_loss.py").write_text({loss!r})


def swept():
    Sweep([*small, "optimizer.lr=0.001,0.01", "hydra.sweep.dir=swept"]).run()


def tabled(folder):
    tables.table([Path(folder)], asked, form="markdown", published=None, digits=None)


def rate():
    swept()
    tabled("swept")


def own_loss():
    outside.load(["my_loss.py"])
    launch.train([*small, "loss=poly", "hydra.run.dir=own/run"])
    tabled("own")


walks = [
    traced(lambda: launch.train([*small, "hydra.run.dir=run"])),
    traced(rate),
    None,
    traced(own_loss),
]
walks[2] = walks[1]
Path("walks.json").write_text(json.dumps(walks))
"""


def walks() -> Iterator[tuple[str, list[str]]]:
    """The title of each walk, and the functions that it names."""
    text = (ROOT / "docs/design.md").read_text()
    section = text[text.index("## Walks") : text.index("## Layers")]
    for title, body in re.findall(r"^### (.+)\n((?:.|\n)+?)(?=^### |\Z)", section, re.MULTILINE):
        steps = re.findall(r"^(\d+)\. `([\w.]+)`", body, re.MULTILINE)
        assert [int(number) for number, _ in steps] == list(range(1, len(steps) + 1)), title
        yield title, [name for _, name in steps]


@pytest.mark.long
def test_the_functions_of_each_walk_are_called_in_its_order(imgrec: Callable[..., Any], workplace: Path) -> None:
    told = list(walks())
    assert len(told) == 4
    named = sorted({name for _, names in told for name in names})
    (loss,) = re.findall(r"`my_loss\.py`\*\*, new:\n\n```python\n(.+?)```", _page("extending"), re.DOTALL)
    code = TRACED.format(named=named, small=SMALL, loss=loss)

    def script() -> None:
        exec(compile(textwrap.dedent(code), "walks", "exec"), {"__name__": "walks"})
        raise SystemExit(0)

    child = imgrec(before=script)
    assert child.wait() == 0, child.log.read_text()
    for (title, names), calls in zip(told, json.loads(Path("walks.json").read_text()), strict=True):
        ahead = iter(calls)
        for step, name in enumerate(names, 1):
            assert name in ahead, f"{title}: step {step}, {name}, does not come after the steps before it"


def _page(name: str) -> str:
    return (ROOT / f"docs/{name}.md").read_text()
