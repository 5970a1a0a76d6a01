"""Test an installed package of components: train, sweep, tabulate, measure, resume, verify; refuse without it."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import one_line

PARTS = Path(__file__).parent / "robustness_parts"
CHOSEN = ["data=stripes", "model=mlp", "loss=poly", "callbacks=[decay_pulse]", "test_protocols=[clean,fgsm]"]
WORDS = [
    *CHOSEN,
    "data.batch_size=8",
    "trainer.accelerator=cpu",
    "trainer.threads=1",
    "trainer.progress=none",
    "trainer.tensorboard=false",
]
USES = """
import os, sys
from pathlib import Path
from imgrec import evaluate, launch, records, verify
from imgrec.errors import Interrupted
from imgrec.sweeps.run import Sweep

words = {words!r}
whole = launch.train([*words, "trainer.max_epochs=2", "hydra.run.dir=whole"]).record
assert whole.status == "finished", whole.error
assert [score.protocol for score in whole.scores if score.split == "test" and score.metric == "top1"][:3] == [
    "clean", "fgsm:0.000", "fgsm:0.031"
]
one = launch.train([*words, "trainer.max_epochs=1", "hydra.run.dir=one"])
more = ["resume=one", "trainer.max_epochs=2", "resume_override=[trainer.max_epochs]", "hydra.run.dir=two"]
assert launch.train(more).record.weights["last"] == whole.weights["last"], "the callback's state went along"
assert "bit-equal" in verify.verify("whole").text
told = evaluate.evaluate("whole", protocol="fgsm", settings=["protocol.fgsm.eps=[0.1]"])
assert {{score.protocol for score in told.scores}} == {{"fgsm:0.100"}}
sweep = Sweep([*words, "trainer.max_epochs=1", "loss.epsilon=0,1", "callback.decay_pulse.every=2,3",
               "launcher=backwards", "hydra.sweep.dir=swept"])
sweep.run()
assert [record.status for _, record in sweep.outcomes] == ["finished"] * 4
assert sweep.outcomes[3][1].began < sweep.outcomes[0][1].began
"""


@pytest.fixture
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip has installed a wheel of the package, beside the suite's environment."""
    folder = tmp_path_factory.mktemp("package")
    files = {f"robustness_parts/{path.name}": path.read_bytes() for path in PARTS.glob("*.py")}
    about = "robustness_parts-1.2.dist-info"
    files[f"{about}/METADATA"] = b"Metadata-Version: 2.1\nName: robustness-parts\nVersion: 1.2\n"
    files[f"{about}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{about}/entry_points.txt"] = b"[imgrec.components]\nrobustness = robustness_parts\n"
    rows = [f"{name},{_digest(content)},{len(content)}" for name, content in files.items()]
    files[f"{about}/RECORD"] = "\n".join([*rows, f"{about}/RECORD,,", ""]).encode()
    with zipfile.ZipFile(folder / "robustness_parts-1.2-py3-none-any.whl", "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-index"]
    if subprocess.run([*pip[:3], "--version"], capture_output=True).returncode:
        pip = ["pip", *pip[3:]]  # a virtual environment without a pip of its own
    subprocess.run([*pip, "--target", str(folder / "site"), *folder.glob("*.whl")], check=True)
    return folder / "site"


def _digest(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


@pytest.mark.slow  # test_outside.py does the same with a file
def test_its_parts_are_used_for_everything_and_refused_without_it(
    package: Path, workplace: Path, command: Callable[..., Any]
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(package)}
    code = USES.format(words=WORDS)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    _check_records()
    _check_table(command)
    for words in (
        ["evaluate", "whole"],
        ["verify", "whole"],
        ["train", "resume=one", "trainer.max_epochs=3", "resume_override=[trainer.max_epochs]"],
    ):
        status, out, err = command(*words)
        assert (status, out) == (2, "")
        assert "of robustness-parts 1.2 (SHA-256 " in one_line(err)
        assert "which are not loaded; install robustness-parts 1.2" in one_line(err)
    assert "robustness_parts" not in sys.modules, "nothing that records and checkpoints name is loaded"


def _check_records() -> None:
    """Records and evaluations keep the package's version."""
    record = json.loads(Path("whole/record.json").read_text())
    names = ["callback=decay_pulse", "data=stripes", "loss=poly", "model=mlp", "protocol=fgsm"]
    assert sorted(record["components"]) == names
    assert {row["distribution"] for row in record["components"].values()} == {"robustness-parts 1.2"}
    assert record["components"]["callback=decay_pulse"]["observes"] is False
    assert record["config"]["callback.decay_pulse.every"] == 5
    (kept,) = (json.loads(path.read_text()) for path in Path("whole/evaluations").glob("fgsm-*.json"))
    assert kept["settings"]["protocol_settings"] == {"eps": [0.1]}
    assert kept["settings"]["protocol_origin"]["distribution"] == "robustness-parts 1.2"


def _check_table(command: Callable[..., Any]) -> None:
    """A table tells settings apart by the parts' settings, without them."""
    status, out, err = command("table", "swept", "--protocol", "fgsm:0.031", "--format", "csv")
    assert status == 0, err
    heading, *rows = out.splitlines()
    assert heading.startswith("loss.epsilon,callback.decay_pulse.every,")
    assert [row.split(",")[:2] for row in rows] == [["0", "2"], ["0", "3"], ["1", "2"], ["1", "3"]]


@pytest.mark.parametrize("word", [*CHOSEN, "launcher=backwards"])
def test_without_it_its_names_are_unknown(command: Callable[..., Any], workplace: Path, word: str) -> None:
    several = ["-m"] if word.startswith("launcher") else []
    code, out, err = command("train", *several, "experiment=demo", word)
    assert (code, out) == (2, "")
    assert "must be one of" in one_line(err)
