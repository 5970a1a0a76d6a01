"""Test the documentation: its examples run as they are, its commands parse, its links lead to existing pages."""

import inspect
import re
import subprocess
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer

from imgrec import cli, launch
from imgrec.config.compose import compose, expand, of_study
from imgrec.config.listed import LISTS
from imgrec.config.root import GROUPS
from imgrec.config.schemas import choices, explanation
from imgrec.help_page import help_page
from imgrec.tables import command as tables

ROOT = Path(__file__).parents[1]
SHORT = ("trainer.max_epochs=1", "trainer.progress=none", "model.widths=[4]", "model.hidden=8")
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("experiments/**/README.md"),
    ]
)
OF_TODAY = ("digits",)  # the other studies' pages name older commits
_EXAMPLE = re.compile(r"\*\*`(?P<path>[^`]+)`\*\*, new:\n\n```\w+\n(?P<code>.+?)```", re.DOTALL)


@pytest.fixture
def examples(workplace: Path) -> Path:
    """The files that docs/extending.md shows, in the working folder."""
    found = list(_EXAMPLE.finditer((ROOT / "docs/extending.md").read_text()))
    assert len(found) == 8
    for example in found:
        path = workplace / example["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(example["code"])
    return workplace


@pytest.mark.long
def test_what_the_page_on_extending_adds_is_there(examples: Path, imgrec: Callable[..., Any]) -> None:
    script = """
        from pathlib import Path
        import json, pytest, torch
        from imgrec import evaluate, launch, losses
        from imgrec.config import outside
        from imgrec.config.compose import compose
        from imgrec.errors import UsageError

        outside.load(sorted(Path().glob("my_*.py")))
        words = ["experiment=demo", "trainer.max_epochs=1", "trainer.progress=none", "trainer.tensorboard=false"]
        words += ["trainer.accelerator=cpu", "trainer.threads=1", "data.batch_size=256", "data.eval_batch_size=512"]
        run = launch.train([*words, "loss=poly", "model=mlp", "model.width=8", "test_protocols=[clean,fgsm]"])
        assert run.record.status == "finished"
        top1 = {score.protocol: score.value for score in run.record.scores if score.metric == "top1"}
        assert top1["fgsm:0.031"] <= top1["fgsm:0.008"] <= top1["clean"]
        told = evaluate.evaluate(run.folder, protocol="fgsm", settings=["protocol.fgsm.eps=[0.5]"])
        assert {score.protocol for score in told.scores} == {"fgsm:0.500"}
        small = ["model.widths=[4]", "model.hidden=8"]
        sign = [*words, *small, "optimizer=sign_sgd"]
        plain = launch.train([*words, *small])
        assert launch.train(sign).record.weights != plain.record.weights
        words_of_stripes = ["data=stripes", *words[1:], *small, "data.batch_size=64", "trainer.max_epochs=3"]
        stripes = launch.train([*words_of_stripes, "optimizer.lr=0.01"])
        assert stripes.record.score("top1", split="test", at="last").value > 0.6
        noisy = launch.train([*words, *small, "callbacks=[gradient_noise]"])
        assert plain.record.run_id != noisy.record.run_id
        assert plain.record.weights != noisy.record.weights
        told = launch.train([*words, *small, "seed=1", "loggers=[json_lines]"])
        lines = [json.loads(line) for line in (told.folder / "lines.jsonl").read_text().splitlines()]
        assert lines[-1]["test_top1_best"] == told.record.score("top1", split="test", at="best").value
        assert any("val/top1" in line for line in lines)
        smooth = launch.train([*words, *small, "loss=label_smoothing_03"], config_dir="my_conf")
        assert smooth.record.config["loss.smoothing"] == 0.3
        with pytest.raises(UsageError, match="loss.epsilon must be > -1 and finite, got -1.0"):
            launch.train([*words, "loss=poly", "loss.epsilon=-1"])
        logits, target = torch.tensor([[1.0, 2.0, 0.5]]), torch.tensor([1])
        expected = losses.cross_entropy(logits, target) + 2 * (1 - logits.softmax(1)[0, 1])
        poly = compose(["data=digits", "loss=poly", "loss.epsilon=2"]).loss.build()
        assert torch.isclose(poly(logits, target), expected)
    """

    def as_the_page_says() -> None:
        exec(textwrap.dedent(script), {})
        raise SystemExit(0)

    child = imgrec(before=as_the_page_says)
    assert child.wait() == 0, child.log.read_text()


@pytest.mark.long
def test_the_readmes_python_gives_scores_and_names(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs one epoch of a smaller network instead of the demo's, on any images."""
    import torch

    (code,) = re.findall(r"```python\n(.+?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    train = launch.train
    monkeypatch.setattr(launch, "train", lambda words: train([*words, *SHORT]))
    names: dict[str, object] = {"images": torch.rand(3, 1, 32, 32)}
    exec(code, names)
    assert 0 <= float(str(names["top1"].value)) <= 1  # type: ignore[attr-defined]
    assert set(names["names"]) <= set("0123456789")  # type: ignore[arg-type]


@pytest.mark.long
def test_the_page_on_python_runs_as_it_is(imgrec: Callable[..., Any], workplace: Path) -> None:
    """Its blocks run one after the other, with one epoch instead of the demo's, and a smaller network."""
    blocks = re.findall(r"```python\n(.+?)```", (ROOT / "docs/python.md").read_text(), re.DOTALL)
    code = "\n".join(blocks).replace(
        '"experiment=demo",', f"'experiment=demo', *{[*SHORT[:2], 'data.batch_size=256']},"
    )
    code = code.replace('"model=resnet18"', "'model.widths=[4]', 'model.hidden=8'")

    def run() -> None:
        exec(code, {"__name__": "page"})
        raise SystemExit(0)

    child = imgrec(before=run)
    assert child.wait() == 0, child.log.read_text()
    said = child.log.read_text()
    assert "torch.Size([4, 10])" in said
    assert re.search(r"adam +2 ", said), "the frame has two runs of each optimizer"


def _prose(page: Path) -> str:
    """A page without its code, of blocks or within a line."""
    return re.sub(r"^```.*?^```|`[^`\n]+`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def _anchors(page: Path) -> set[str]:
    """The names that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_within_the_project_leads_to_a_file_and_a_heading(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", _prose(page))
    for link in (first or second for first, second in links):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT.resolve()), f"{link} leads out of the project"
        assert not anchor or anchor in _anchors(target), link


def _commands(page: Path) -> list[str]:
    """The `imgrec ...` commands of a page, those of blocks and those within a line, as a shell gets them."""
    text = page.read_text()
    blocks = re.findall(r"^ {4}(?:\$ )?imgrec ((?:.*\\\n)*.+)$", text, re.MULTILINE)
    within = [line.replace("\n", " ") for line in re.findall(r"`imgrec ([^`]+)`", text)]
    return [*blocks, *within]


def _split(lines: Sequence[str]) -> list[list[str]]:
    """What a shell makes of the lines: the words of each, without its comment."""
    script = "".join(f"printf '%s\\0' {line}\nprintf '\\n'\n" for line in lines)
    done = subprocess.run(["sh", "-e", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [row.split("\0")[:-1] for row in done.stdout.split("\n")[:-1]]


_STANDS_FOR_WORDS = {"KEY=VALUE", "AXIS", "WORD"}


def _check_train(words: list[str]) -> None:
    """Refuse words of `imgrec train` that make no configuration, or no page of its help."""
    words = [word for word in words if word not in _STANDS_FOR_WORDS]
    if "--help" in words:
        assert help_page([word for word in words if word != "--help"])
        return
    if "loss.teacher=RUN" in words:  # that run exists for the reader alone
        words.append("loss.teacher_digest=0123456789abcdef")
    several = "-m" in words
    words = [word for word in words if word not in ("-m", "--cfg", "job")]
    words = [re.sub(r"=tag\(log, interval\(.+", "=1", word) for word in words]
    grid = of_study(words)
    jobs = expand([*(grid or []), *words]) if several or grid is not None else [words]
    for job in jobs if len(jobs) < 12 else (jobs[0], jobs[-1]):
        compose(job)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.parent.parent != ROOT / "experiments" or page.parent.name in OF_TODAY],
    ids=lambda page: f"{page.parent.name}/{page.name}",
)
def test_each_command_parses_and_its_choices_keys_and_options_exist(page: Path) -> None:
    known = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    for name, *words in _split(_commands(page)):
        if not words and name in (*known, "--help"):
            continue
        if name == "train":
            if not {"--components", "--config-dir"} & {*words}:  # docs/extending.md makes these, and is tested above
                _check_train(words)
            continue
        if "--help" in words:
            continue
        asked = known[name].make_context(name, list(words)).params
        taken = inspect.signature(tables.request).parameters
        if name in ("table", "report", "figure"):
            given = {key: value for key, value in asked.items() if key in taken and key != "names"}
            tables.request(**{"baseline": [], **given})


def test_a_command_that_is_wrong_would_be_found() -> None:
    (words,) = _split(["train 'seed=range(5)' optimzer=adam  # a comment"])
    assert words == ["train", "seed=range(5)", "optimzer=adam"]
    with pytest.raises(Exception, match="optimzer"):
        _check_train(["-m", *words[1:]])
    with pytest.raises(AssertionError, match="yntax error"):
        _split(["train seed=range(5)"])


def test_the_first_page_is_short_and_has_pictures() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) < 900
    assert len(re.findall("<img ", text)) >= 2


@pytest.mark.parametrize("axis", ["experiment", "study", *GROUPS, *LISTS])
def test_the_page_of_choices_has_each_with_its_explanation(axis: str) -> None:
    page = (ROOT / "docs/choices.md").read_text()
    heading = re.escape(f"{LISTS[axis]}=[...]" if axis in LISTS else f"{axis}=")
    (table,) = re.findall(rf"^\| `{heading}` \| \|\n.+\n((?:\|.*\n)+)", page, re.MULTILINE)
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", table, re.MULTILINE))
    assert list(rows) == choices(axis)
    for name, sentence in rows.items():
        assert sentence == explanation(axis, name)
