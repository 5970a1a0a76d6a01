"""Test the user's own components, from a file or an installed package: recorded, and refused if they have changed."""

import json
import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import one_line

from imgrec import evaluate, runfolder, verify
from imgrec.config import origins, outside, registry
from imgrec.config.schemas import choices
from imgrec.errors import UsageError
from imgrec.job import Job

Said = tuple[int, str, str]

PACKAGE = Path(__file__).parent / "robustness_parts"
PARTS = "".join(
    [
        "from pathlib import Path\n",
        *((PACKAGE / f"{name}.py").read_text() for name in ("data", "launcher", "loss", "network")),
        '\nPath("loaded").touch()\n',
    ]
)
"""A data set, a launcher, a loss and a network in one file, which imports torch at its top."""


ANOTHER = PARTS.replace("plain_n + ", "plain_n - ")


@pytest.fixture
def parts(workplace: Path) -> Path:
    path = workplace / "my_parts.py"
    path.write_text(PARTS)
    return path


@pytest.fixture
def words(tiny: list[str]) -> list[str]:
    chosen = [word for word in tiny if not word.startswith("model.")]
    return [*chosen, "model=mlp", "loss=poly", "loss.note=mine", "trainer.max_epochs=1", "hydra.run.dir=run"]


def test_a_file_s_components_are_trained_measured_verified_and_resumed(
    parts: Path, words: list[str], python: Callable[[str], str], command: Callable[..., Said]
) -> None:
    said = python(f"""
        from imgrec import launch, evaluate, verify
        from imgrec.config import outside
        from imgrec.config.compose import compose
        from imgrec.errors import UsageError
        from imgrec.sweeps.run import Sweep

        outside.load(["my_parts.py"])
        outside.load(["my_parts.py"])
        run = launch.train({words!r})
        assert run.record.status == "finished"
        assert evaluate.evaluate("run").scores
        assert "bit-equal" in verify.verify("run").text
        on = launch.train(["resume=run", "trainer.max_epochs=2", "resume_override=[trainer.max_epochs]"])
        assert on.record.progress["epochs"] == 2
        swept = [word for word in {words!r} if not word.startswith(("data", "hydra."))]
        sweep = Sweep([*swept, "data=stripes", "data.batch_size=8", "data.count=16,24", "launcher=backwards"])
        sweep.run()
        assert [record.status for _, record in sweep.outcomes] == ["finished", "finished"]
        assert sweep.outcomes[1][1].began <= sweep.outcomes[0][1].began
        try:
            compose(["data=digits", "loss=poly", "loss.epsilon=-1"])
        except UsageError as error:
            print(error)
    """)
    assert "loss.epsilon must be > -1 and finite, got -1.0" in said
    record = runfolder.record_of(Path("run"))
    kept = record.components["loss=poly"]
    assert (kept["file"], kept["defaults"]) == ("my_parts.py", {"class_weights": "none", "epsilon": 1.0, "note": ""})
    assert (kept["outside_identity"], kept["gives_probabilities"]) == (["note"], True)
    assert record.components["model=mlp"]["sha256"] == kept["sha256"]
    assert {"outside.loss.poly", "outside.model.mlp"} <= record.code.keys()
    Path("loaded").unlink()
    _check_table(command)
    _check_refusals(parts, words, command, python)


def _check_table(command: Callable[..., Said]) -> None:
    """A table shows the run, and the defaults of its components, without them."""
    code, _, err = command("table", "run", "--format", "csv")
    assert code == 0, err
    assert not Path("loaded").exists()


def _check_refusals(parts: Path, words: list[str], command: Callable[..., Said], python: Callable[[str], str]) -> None:
    """Nothing is loaded that only a record or a checkpoint names, and another file is not taken for the run's."""
    for asked in (["evaluate", "run"], ["verify", "run"], ["train", "resume=run", "trainer.max_epochs=3"]):
        code, out, err = command(*asked)
        assert (code, out) == (2, ""), asked
        assert "was made with model=mlp and loss=poly of my_parts.py (SHA-256 " in one_line(err)
        assert "which are not loaded; give --components my_parts.py, or put it into IMGREC_COMPONENTS" in err
    code, _, err = command("train", *words)
    assert code == 2
    assert "got 'mlp'; one of your own needs --components FILE" in one_line(err)
    assert not Path("loaded").exists()
    parts.write_text(ANOTHER)
    said = python("""
        from imgrec import evaluate, verify
        from imgrec.config import outside
        from imgrec.errors import UsageError

        outside.load(["my_parts.py"])
        for again in (evaluate.evaluate, verify.verify):
            try:
                again("run")
            except UsageError as error:
                print(error)
    """)
    assert said.count("and model=mlp is now that of my_parts.py (SHA-256 ") == 2


def test_a_refusal_names_every_component_that_is_missing() -> None:
    mine, other = {"file": "a b.py", "sha256": "1" * 64}, {"file": "two.py", "sha256": "2" * 64}
    lab = {"distribution": "my-lab 1.2", "sha256": ""}
    rows = {"loss=x1": mine, "model=x2": mine, "data=x3": other, "protocol=x4": lab}
    with pytest.raises(UsageError) as refusal:
        origins.refuse_other(rows, "r/a")
    assert str(refusal.value) == (
        "r/a was made with loss=x1 and model=x2 of a b.py (SHA-256 111111111111), and with data=x3 of two.py (SHA-256"
        " 222222222222), and with protocol=x4 of my-lab 1.2 (SHA-256 unknown), which are not loaded; install my-lab"
        " 1.2, and give --components 'a b.py' --components two.py, or put them into IMGREC_COMPONENTS"
    )


@pytest.mark.long
def test_an_edited_file_is_other_code_and_a_comment_is_none(
    parts: Path, words: list[str], imgrec: Callable[..., Any]
) -> None:
    asked = ["train", "--components", "my_parts.py", *words]
    assert imgrec(*asked).wait() == 0
    parts.write_text(f"{PARTS}\n# a comment")
    again = imgrec(*asked)
    assert again.wait() == 0
    assert "other code" not in again.log.read_text()
    assert imgrec("evaluate", "--components", "my_parts.py", "run").wait() == 0
    parts.write_text(ANOTHER)
    again = imgrec(*asked)
    assert again.wait() == 0
    said = " ".join(again.log.read_text().split())
    assert "run finished with other code: outside.loss.poly, outside.model.mlp have changed since" in said


PROTOCOL = """
import numpy as np
import torch
from imgrec.components import Protocol, register


@register("protocol", "mine")
class Mine(Protocol):
    "Noise from the global random states, which refuses some batches."

    def build(self):
        def measure(network, batch):
            if len(batch.images_nchw) {FAILS}:
                raise ValueError("a batch that is not foreseen")
            noise = torch.rand(1) + np.random.rand()
            return {"": network(batch.images_nchw + 0 * noise)}

        return measure
"""


@pytest.mark.long
def test_a_protocol_is_tried_before_training_and_its_mended_code_finishes_the_run(
    tiny: list[str], undisturbed: Callable[..., Path], imgrec: Callable[..., Any], command: Callable[..., Said]
) -> None:
    dropped = "model.dropout=0.3"  # draws from the random states that a trial must leave alone

    def train(fails: str, *more: str) -> tuple[int, str]:
        Path("mine.py").write_text(PROTOCOL.replace("{FAILS}", fails))
        asked = [dropped, "test_protocols=[mine]", "trainer.max_epochs=1", "hydra.run.dir=run"]
        child = imgrec("train", "--components", "mine.py", *tiny, *asked, *more)
        return child.wait(), " ".join(child.log.read_text().split())

    code, said = train("== 2")  # two images are tried
    assert (code, "a batch that is not foreseen" in said) == (1, True), said
    assert not list(Path("run").glob("checkpoints/*"))
    code, said = train("> 2")
    assert (code, "a batch that is not foreseen" in said) == (1, True), said
    assert list(Path("run").glob("checkpoints/*"))
    code, said = train("> 99", "code=refuse")
    assert code == 1
    assert "must go on with the code that it began with, and outside.protocol.mine has changed since" in said
    code, said = train("> 99")
    assert code == 0, said
    assert "training is over at step 8: only the final reading is left" in said
    assert "run goes on with other code: outside.protocol.mine has changed since" in said
    record = runfolder.record_of(Path("run"))
    assert record.code_since == [], "what a protocol computes, its last code alone did"
    assert record.code["outside.protocol.mine"].partition(" ")[0] == record.components["protocol=mine"]["sha256"][:12]
    alone = runfolder.record_of(undisturbed("trainer.max_epochs=1", dropped))
    clean, mine = (
        alone.score("top1", split="test", at="best"),
        record.score("top1", split="test", at="best", protocol="mine"),
    )
    assert clean is not None
    assert mine is not None
    assert clean.value == mine.value
    assert record.weights == alone.weights, "the trial leaves the training as it was"
    Path("mine.py").write_text(PROTOCOL.replace("{FAILS}", "> 98"))
    assert command("evaluate", "run")[0] == 0, "the protocol's file decides nothing of clean scores"
    assert imgrec("evaluate", "run", "--components", "mine.py", "--protocol", "mine").wait() == 0


FAULTY = """
import os
from lightning.pytorch.callbacks import Callback as LightningCallback
from imgrec.components import Callback, register


@register("callback", "faulty")
class Faulty(Callback):
    "What goes wrong, an environment variable says."

    def build(self):
        return Hooks()


class Hooks(LightningCallback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if os.environ.get("FAULT") == "raises":
            raise ValueError("a batch that is not foreseen")

    def on_save_checkpoint(self, trainer, pl_module, checkpoint):
        if os.environ.get("FAULT") == "stores":
            checkpoint["mine"] = object()
"""


@pytest.mark.long
def test_a_callback_that_fails_in_a_resumed_run_is_not_told_as_a_damaged_checkpoint(
    tiny: list[str], imgrec: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("faulty.py").write_text(FAULTY)
    asked = ["train", "--components", "faulty.py"]
    first = imgrec(*asked, *tiny, "callbacks=[faulty]", "trainer.max_epochs=1", "hydra.run.dir=run")
    assert first.wait() == 0, first.log.read_text()
    for fault, sentence in (
        ("raises", "ValueError: a batch that is not foreseen"),
        ("stores", "got builtins.object; change the callback whose on_save_checkpoint adds it"),
    ):
        monkeypatch.setenv("FAULT", fault)
        again = imgrec(*asked, "resume=run", "trainer.max_epochs=2", "resume_override=[trainer.max_epochs]")
        assert again.wait() != 0
        said = " ".join(again.log.read_text().split())
        assert sentence in said
        assert "must hold a state that the run can go on from" not in said


NOTEBOOK = """
from imgrec import losses
from imgrec.components import Loss, register, setting


@register("loss", "poly")
class Poly(Loss):
    "A loss."

    factor: float = setting(1.0, "a factor")

    def build(self):
        return losses.cross_entropy
"""


@pytest.mark.long
def test_a_class_that_a_program_defines_anew_is_other_code_with_its_own_defaults(
    words: list[str], tiny: list[str], python: Callable[[str], str], workplace: Path
) -> None:
    """A notebook's cells are no files: the source is the one that inspect finds."""
    asked = [*tiny, "loss=poly", "trainer.max_epochs=1"]
    said = python(f"""
        import linecache, sys, types
        from imgrec import launch
        from imgrec.config.compose import compose
        from imgrec.errors import RunError, UsageError

        notebook = sys.modules["notebook"] = types.ModuleType("notebook")

        def cell(text):
            name = f"<cell {{len(linecache.cache)}}>"
            linecache.cache[name] = (len(text), None, text.splitlines(True), name)
            exec(compile(text, name, "exec"), notebook.__dict__)

        cell({NOTEBOOK!r})
        assert not launch.train({asked!r}).already
        assert launch.train([*{asked!r}, "code=refuse"]).already
        cell({NOTEBOOK.replace("1.0", "2.0").replace("cross_entropy", "brier")!r})
        assert compose(["data=digits", "loss=poly"]).loss.factor == 2
        for more in (["loss.factor=2", "code=refuse"], ["trainer=ddp", "trainer.accelerator=cpu", "hydra.run.dir=two"]):
            try:
                launch.train([*{asked!r}, *more])
            except (RunError, UsageError) as error:
                print(error)
    """)
    assert "outside.loss.poly has changed since" in said, "the id is the same: 2 is the default now, as 1 was before"
    assert "trainer.devices=2 needs processes that have loss=poly too, and a program defines it" in said


@pytest.mark.long
def test_one_choice_s_silent_key_is_not_another_s(
    parts: Path, python: Callable[[str], str], command: Callable[..., Said], tiny: list[str]
) -> None:
    """loss.gamma is outside of the identity of one choice, and part of the identity of the other."""
    gamma = "    gamma: float = setting(2.0, 'a note', identity=False)\n    note: str"
    parts.write_text(PARTS.replace("    note: str", gamma))
    python(f"""
        from imgrec.config import outside
        from imgrec.sweeps.run import Sweep

        outside.load(["my_parts.py"])
        words = {[*tiny, "trainer.max_epochs=1", "hydra.sweep.dir=s"]!r}
        Sweep([*words, "loss=focal", "loss.gamma=1,30"]).run()
        Sweep([*words, "loss=poly", "loss.gamma=3,4"]).run()
    """)
    names = {path.parent.name for path in Path("s").glob("*/record.json")}
    assert len(names) == 3, "of poly there is one run, whatever its note"
    assert sum(name.startswith(("gamma-1_", "gamma-30_")) for name in names) == 2
    code, out, err = command("table", "s", "--format", "csv")
    assert code == 0, err
    assert "several runs of seed" not in out + err
    assert len(out.splitlines()) == 4


MINE = "@register('loss', 'mine')\nclass Mine(Loss):\n    'A loss.'"
BUILD = "\n    def build(self): return None"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "must be a file of Python code, got: No such file or directory; name one"),
        ("def f(:", "cannot be loaded: SyntaxError: invalid syntax"),
        ("1 / 0", "cannot be loaded: ZeroDivisionError: division by zero (mine.py, line 2); mend it"),
        ("raise SystemExit(0)", "cannot be loaded: SystemExit: 0 (mine.py, line 2); mend it"),
        ("x = 1", "registers no component; put @register(axis, name) before a class"),
        (
            "@register('loss', 'focal')\nclass Focal(Loss): ...",
            "loss=focal must be a name that is free, and imgrec.components.loss.focal has it; give another",
        ),
        (
            "@register('loss', 'focal_3')\nclass Mine(Loss): ...",
            "must give a name that is free, and ",
        ),
        (
            "@register('model', 'mine')\nclass Mine(Loss): ...",
            "@register('model', 'mine') must stand before a class of the axis model, and Mine is of the axis loss; ",
        ),
        (
            "@register('loss', 'my-loss')\nclass Mine(Loss): ...",
            "must give a name of letters, digits and underscores",
        ),
        (
            "@register('loss', 'mine')\nclass A(Loss): ...\n@register('loss', 'mine')\nclass A(Loss): ...",
            "loss=mine must be a name that is free, and another class of this file has it; give another one",
        ),
        ("@register('loss', 'mine')\nclass Mine(Loss): ...", "must stand before a class with a docstring"),
        (f"{MINE}\n    ...", "@register('loss', 'mine') must stand before a class that defines build()"),
        (
            "@register('data', 'mine')\nclass Mine(Data):\n    'Images.'",
            "@register('data', 'mine') must stand before a class that defines load() and fingerprint()",
        ),
        (f"{MINE}\n    w: float = 1.0{BUILD}", "w must be a setting; write w = setting(DEFAULT, 'HELP')"),
        (f"{MINE}\n    w: complex = setting(1j, 'w'){BUILD}", "w must be one of int, float, bool, str, "),
        (f"{MINE}\n    w: int = setting(3, 'w', among=(3, 5)){BUILD}", "among must hold texts, got (3, 5): w; declare"),
        (
            f"{MINE}\n    w: float = setting(1.0, 'w', above=0, at_least=1){BUILD}",
            "a setting must have one lower bound and one upper bound at most: w; drop a bound",
        ),
        (
            f"{MINE}\n    w: float = setting(2.0, 'w', above=0, below=1){BUILD}",
            "loaded: @register('loss', 'mine'): the default of Mine.w must lie in (0, 1), got 2.0; give another",
        ),
        (
            f"{MINE}\n    w: list[int] = setting(lambda: [4, 0], 'w', at_least=1){BUILD}",
            "the default of Mine.w must be >= 1 and finite, got 0; give another default, or another range",
        ),
        (
            f"{MINE}\n    w: str = setting('a', 'w', among=('b', 'c')){BUILD}",
            "the default of Mine.w must be one of b, c, got 'a'; give another default, or another range",
        ),
        (
            f"{MINE}\n    w: int = setting(0.5, 'w'){BUILD}",
            "the default of Mine.w must be of the type int, got 0.5; give another default, or another type",
        ),
        (
            f"{MINE}\n    w: float = setting(None, 'w', above=0){BUILD}",
            "the default of Mine.w must be of the type float, got None; give another default, or another type",
        ),
        (f"{MINE}\n    w: list[int] = setting([1], 'w'){BUILD}", "got [1]: w; write setting(lambda: [1], ...)"),
        (
            "@register('loss', 'mine')\nclass Mine(Loss): ...\n1 / 0",
            "cannot be loaded: ZeroDivisionError: division by zero (mine.py, line 4); mend it",
        ),
    ],
)
def test_a_file_that_gives_no_component_is_refused_and_leaves_none(
    command: Callable[..., Said], workplace: Path, text: str | None, reason: str
) -> None:
    before = {axis: registry.components(axis) for axis in outside.KINDS}
    if text is not None:
        Path("mine.py").write_text(f"from imgrec.components import Data, Loss, register, setting\n{text}\n")
    code, out, err = command("train", "--components", "mine.py", "experiment=demo")
    assert (code, out) == (2, "")
    assert one_line(err).startswith("imgrec: --components mine.py ")
    assert reason in one_line(err)
    assert {axis: registry.components(axis) for axis in outside.KINDS} == before
    assert not outside.loaded()
    assert not Path("outputs").exists()


def test_a_name_that_another_file_has_is_told_with_that_file(imgrec: Callable[..., Any], workplace: Path) -> None:
    for name in ("one.py", "two.py"):
        Path(name).write_text(f"from imgrec.components import Loss, register\n# {name}\n{MINE}{BUILD}\n")
    child = imgrec("train", "--components", "one.py", "--components", "two.py", "--help", "loss")
    assert child.wait() == 2
    told = f"loss=mine must be a name that is free, and {Path('one.py').resolve()} has it; give another one"
    assert f"--components two.py cannot be loaded: {told}" in one_line(child.log.read_text())


@pytest.mark.long
def test_a_job_loads_the_files_that_it_carries_as_they_were(
    parts: Path, words: list[str], python: Callable[[str], str]
) -> None:
    python(f"""
        from pathlib import Path
        from imgrec import run_lookup
        from imgrec.config import outside
        from imgrec.config.compose import compose
        from imgrec.data import inventory
        from imgrec.job import Job

        outside.load(["my_parts.py"])
        config = compose({words[:-1]!r})
        seen = inventory.take(config.data)
        job = Job(config=config, folder=Path("run"), run_id=run_lookup.identity(config, seen.fingerprint),
                  fingerprint=seen.fingerprint)
        Path("job.json").write_text(job.to_json())
    """)
    python("""
        from pathlib import Path
        from imgrec import execution
        from imgrec.job import Job

        assert execution.run(Job.read(Path("job.json"))).status == "finished"
    """)
    parts.write_text(ANOTHER)
    with pytest.raises(UsageError, match=r"my_parts\.py has changed since the job was made; start the command again"):
        Job.read(Path("job.json"))


@pytest.mark.parametrize("imported", ["importlib.metadata", "importlib_metadata"])
@pytest.mark.long
def test_an_installed_package_s_components_are_there_and_recorded_with_its_version(
    workplace: Path, words: list[str], python: Callable[[str], str], imported: str
) -> None:
    """The package importlib_metadata, which MLflow imports, puts itself in the place of Python's own."""
    pytest.importorskip(imported)
    site = workplace / "site"
    info = site / "my_lab-1.2.dist-info"
    info.mkdir(parents=True)
    (site / "my_lab.py").write_text(PARTS)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-lab\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[imgrec.components]\nlab = my_lab\n")
    said = python(f"""
        import sys
        import {imported}
        sys.path.insert(0, {str(site)!r})
        from imgrec import launch

        launch.train({words!r})
        info = {str(info)!r}
        from pathlib import Path
        Path(info, "METADATA").write_text(Path(info, "METADATA").read_text().replace("1.2", "1.3"))
    """)
    assert "one of your own" not in said
    kept = json.loads(Path("run/record.json").read_text())["components"]["loss=poly"]
    assert kept["distribution"] == "my-lab 1.2"
    with pytest.raises(UsageError, match=r"which are not loaded; install my-lab 1\.2"):
        evaluate.evaluate("run")
    with pytest.raises(UsageError, match=r"install my-lab 1\.2"):
        verify.verify("run")
    said = python(f"""
        import sys
        sys.path.insert(0, {str(site)!r})
        from imgrec import evaluate
        from imgrec.errors import UsageError

        try:
            evaluate.evaluate("run")
        except UsageError as error:
            print(error)
    """)
    assert "and model=mlp is now that of my-lab 1.3 (SHA-256 " in said


WRONG = """
import torch
from torch import nn
from imgrec import losses
from imgrec.components import Loss, Model, Optimizer, register

@register("model", "seven")
class Seven(Model):
    "Seven logits."
    def build(self, *, num_classes, image_size, channels, fetch):
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, 7))

@register("loss", "mean_alone")
class MeanAlone(Loss):
    "It ignores reduction."
    def build(self):
        return lambda logits, target, *, reduction="mean": losses.cross_entropy(logits, target)

@register("loss", "no_reduction")
class NoReduction(Loss):
    "It has none."
    def build(self):
        return lambda logits, target: losses.cross_entropy(logits, target)

@register("optimizer", "own_rate")
class OwnRate(Optimizer):
    "It ignores lr_scale."
    lr: float = 0.1
    def build(self, module):
        return torch.optim.SGD(module.parameters(), lr=0.1)
"""


@pytest.mark.long
def test_a_component_whose_results_have_another_form_is_refused(
    python: Callable[[str], str], tiny: list[str], workplace: Path
) -> None:
    Path("wrong.py").write_text(
        WRONG.replace("lr: float = 0.1", "lr: float = setting(0.1, 'rate')").replace(
            "Optimizer, register", "Optimizer, register, setting"
        )
    )
    asked = [word for word in tiny if not word.startswith("model.")]
    said = python(f"""
        from imgrec import launch
        from imgrec.config import outside
        from imgrec.errors import UsageError

        outside.load(["wrong.py"])
        own_rate = ["model=cnn", "model.widths=[4]", "optimizer=own_rate"]
        for words in (
            ["model=seven"],
            ["model=cnn", "model.widths=[4]", "loss=mean_alone"],
            ["model=cnn", "model.widths=[4]", "loss=no_reduction"],
            [*own_rate, "optimizer.lr_scale=3"],
            [*own_rate, "optimizer.weight_decay=1"],
        ):
            try:
                launch.train([*{asked!r}, *words])
            except UsageError as error:
                print(error)
    """)
    assert "model=seven must give logits (N, 3), one a class, and gives (2, 7) for two images" in said
    assert "loss=mean_alone must give shape (2,) for two images with reduction='none', got ()" in said
    assert "loss=no_reduction must take (logits, target, *, reduction), got: " in said
    assert "optimizer=own_rate must begin at lr * lr_scale = 0.3" in said
    assert "optimizer=own_rate must have optimizer.weight_decay=1.0 in its groups, and has not" in said


def test_help_shows_what_a_file_adds(parts: Path, imgrec: Callable[..., Any]) -> None:
    child = imgrec("train", "--help", "loss=poly", "--components", "my_parts.py")
    assert child.wait() == 0
    said = " ".join(child.log.read_text().split())
    assert "loss=poly Cross-entropy with a heavier first polynomial term (Leng et al. 2022)." in said
    assert "weight of the first polynomial term; 0 is cross-entropy (1.0; > -1)" in said
    assert "poly" not in choices("loss"), "of this process"


@pytest.mark.slow
@pytest.mark.parametrize("more", [["launcher=pool"], ["trainer=ddp", "trainer.accelerator=cpu", "data.batch_size=4"]])
def test_a_sweep_s_processes_load_the_file_that_the_environment_names(
    parts: Path, words: list[str], imgrec: Callable[..., Any], more: list[str]
) -> None:
    def named() -> None:
        os.environ["IMGREC_COMPONENTS"] = str(parts)

    child = imgrec("train", "-m", *words[:-1], "seed=0,1", *more, before=named)
    assert child.wait() == 0, child.log.read_text()
    statuses = [json.loads(path.read_text())["status"] for path in Path("outputs").glob("*/*/record.json")]
    assert statuses == ["finished", "finished"]


CALLBACK = """
import dataclasses
from lightning.pytorch.callbacks import Callback as LightningCallback
from imgrec.components import Callback, register


@register("callback", "mine")
class Given(Callback):
    "A callback."

    def build(self):
        return NAME()


@dataclasses.dataclass
class Held:
    steps: int = 0


class NAME(LightningCallback):
    steps = 0

    def on_train_batch_end(self, *given):
        self.steps += 1

    def state_dict(self):
        return STATE
"""


@pytest.mark.parametrize(
    ("name", "state", "sentence"),
    [
        (
            "Mine",
            "{'held': [Held()]}",
            "callback=mine must have a state of numbers, texts, tensors and plain containers",
        ),
        (
            "Mine",
            "{'held': Held() if self.steps else 0}",
            "the callback Mine must have a state of numbers, texts",
        ),
        (
            "Saver",
            "{'steps': 1}",
            "callback=mine must have a state_key of its own, and another has 'Saver' too; r",
        ),
    ],
    ids=["an object", "an object later", "another's name"],
)
@pytest.mark.long
def test_a_callback_whose_state_could_not_come_back_is_refused_before_it_is_saved(
    tiny: list[str], python: Callable[[str], str], workplace: Path, name: str, state: str, sentence: str
) -> None:
    Path("my_callback.py").write_text(CALLBACK.replace("NAME", name).replace("STATE", state))
    said = python(f"""
        from imgrec import launch
        from imgrec.config import outside
        from imgrec.errors import RunError, UsageError

        outside.load(["my_callback.py"])
        try:
            launch.train([*{tiny!r}, "callbacks=[mine]", "trainer.max_epochs=1", "hydra.run.dir=run"])
        except (RunError, UsageError) as error:
            print("refused:", error)
    """)
    assert f"refused: {sentence}" in said
    assert not list(Path("run").glob("checkpoints/*.ckpt"))


@pytest.mark.long
def test_a_class_that_cannot_be_found_by_its_name_is_refused(
    tiny: list[str], python: Callable[[str], str], workplace: Path
) -> None:
    Path("mine.py").write_text(f"def make():\n{textwrap.indent(NOTEBOOK, '    ')}\nmake()\n")
    said = python(f"""
        from imgrec import launch
        from imgrec.config import outside
        from imgrec.errors import UsageError

        outside.load(["mine.py"])
        try:
            launch.train([*{tiny!r}, "loss=poly", "trainer.max_epochs=1"])
        except UsageError as error:
            print("refused:", error)
    """)
    assert "refused: a component must be a class at the top of its module, of a name of its own, got: " in said
