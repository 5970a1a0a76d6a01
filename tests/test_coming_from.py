"""Test the pages for people who come from elsewhere: their commands are tried out, their Python runs as it is."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm.optim
from test_docs import _commands, _split

from imgrec.config.compose import expand
from imgrec.config.overrides import key_of

ROOT = Path(__file__).parents[1]
PAGES = ("from-lightning-hydra-template", "from-timm")
TRIED = ("data=digits", "data.batch_size=16", "trainer.accelerator=cpu", "trainer.threads=1", "trainer.progress=none")
# what another machine or a download would be needed for: these are composed, as all pages' commands are
ELSEWHERE = {"trainer.devices=4", "model.pretrained=true", "trainer.compile=true", "sweep=optuna"}


def trials() -> list[tuple[str, ...]]:
    """The words of each command of these pages that a few batches of digits can try, of a sweep those of its first."""
    found = []
    for page in PAGES:
        for name, *words in _split(_commands(ROOT / f"docs/{page}.md")):
            if name != "train" or not words or ELSEWHERE & set(words) or "--components" in words:
                continue
            if any(key_of(word) == "resume" for word in words):
                continue
            first = expand([word for word in words if word != "-m"])[0]
            kept = [word for word in first if key_of(word) not in ("data", "data.root", "data.image_size")]
            found.append(tuple(word for word in kept if not word.startswith("hydra.")))
    return sorted(set(found))


def test_there_are_enough_of_them() -> None:
    assert len(trials()) > 25


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_each_command_trains_a_few_batches(imgrec: Callable[..., Any]) -> None:
    for words in trials():
        given = {key_of(word) for word in words}
        own = [word for word in TRIED if key_of(word) not in given]
        child = imgrec("train", *own, *words, "trainer.fast_dev_run=true")
        assert child.wait() == 0, f"{words}: {child.log.read_text()}"


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.long
def test_their_python_runs_as_it_is(page: str, workplace: Path, imgrec: Callable[..., Any]) -> None:
    blocks = re.findall(r"```python\n(.+?)```", (ROOT / f"docs/{page}.md").read_text(), re.DOTALL)
    (workplace / "dense.py").write_text("\n".join(blocks))

    def run() -> None:
        exec((workplace / "dense.py").read_text(), {"__name__": "page"})
        raise SystemExit(0)

    if page == "from-timm":
        child = imgrec(before=run)
    else:
        words = ["model=dense", "model.width=8", "trainer.fast_dev_run=true"]
        child = imgrec("train", "--components", "dense.py", *TRIED, *words)
    assert child.wait() == 0, child.log.read_text()


def test_the_optimizers_of_timm_that_the_page_names_are_there() -> None:
    page = (ROOT / "docs/from-timm.md").read_text()
    (named,) = re.findall(r"optimizer=([\w,]+adafactor)", page)
    assert set(named.split(",")) <= set(timm.optim.list_optimizers())
