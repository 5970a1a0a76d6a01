"""The examples that a reader copies, carried out as they stand."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from imgrec import launch

ROOT = Path(__file__).parents[1]
_PLACE = r"(?:\*\*`(?P<path>[^`]+)`\*\*|in the same file), (?P<where>new|at the end|(?:above|below) `.+?`):"
_EXAMPLE = re.compile(_PLACE + r"\n\n```\w+\n(?P<code>.+?)```", re.DOTALL)


def edited(text: str, where: str, code: str) -> str:
    """The file with the example in its place, as far in as the line that it stands beside."""
    if where == "new":
        return code
    if where == "at the end":
        return f"{text}\n\n{code}"
    side, line = where.split(" ", 1)
    (indent,) = re.findall(rf"^( *){re.escape(line.strip('`'))}$", text, re.MULTILINE)
    whole, block = f"{indent}{line.strip('`')}\n", textwrap.indent(code, " " * 8 if code.startswith("case") else indent)
    return text.replace(whole, whole + block if side == "below" else f"{block}\n\n{whole}")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the project with what docs/extending.md adds to it."""
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, tmp_path / "clone" / name, ignore=shutil.ignore_patterns("__pycache__"))
    path = None
    examples = list(_EXAMPLE.finditer((ROOT / "docs/extending.md").read_text()))
    assert len(examples) == 6
    for example in examples:
        path = tmp_path / "clone" / example["path"] if example["path"] else path
        assert path is not None
        assert path.exists() is (example["where"] != "new")
        path.write_text(edited(path.read_text() if path.exists() else "", example["where"], example["code"]))
    return tmp_path / "clone"


def test_what_the_page_on_extending_adds_is_there(clone: Path, workplace: Path) -> None:
    script = """
        import pytest, torch
        from imgrec import launch, losses
        from imgrec.errors import UsageError

        words = ["experiment=demo", "trainer.max_epochs=1", "trainer.progress=none", "trainer.tensorboard=false"]
        run = launch.train([*words, "loss=poly"])
        assert run.record.status == "finished"
        assert launch.train([*words, "loss=label_smoothing_03"]).record.config["loss.smoothing"] == 0.3
        with pytest.raises(UsageError, match="loss.epsilon must be > -1 and finite, got -1.0"):
            launch.train([*words, "loss=poly", "loss.epsilon=-1"])
        logits, target = torch.tensor([[1.0, 2.0, 0.5]]), torch.tensor([1])
        expected = losses.cross_entropy(logits, target) + 2 * (1 - logits.softmax(1)[0, 1])
        assert torch.isclose(losses.poly(logits, target, epsilon=2), expected)
    """
    surroundings = {**os.environ, "PYTHONPATH": str(clone / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env=surroundings, capture_output=True, text=True, cwd=workplace
    )
    assert done.returncode == 0, done.stderr


def test_the_readmes_python_gives_scores_and_names(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one epoch instead of the demo's; its images are any."""
    import torch

    (code,) = re.findall(r"```python\n(.+?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    train = launch.train
    monkeypatch.setattr(launch, "train", lambda words: train([*words, "trainer.max_epochs=1", "trainer.progress=none"]))
    names: dict[str, object] = {"images": torch.rand(3, 1, 32, 32)}
    exec(code, names)
    assert 0 <= float(str(names["top1"].value)) <= 1  # type: ignore[attr-defined]
    assert set(names["names"]) <= set("0123456789")  # type: ignore[arg-type]
