"""Test choices, recipes and studies in a folder of the user: --config-dir."""

import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from imgrec import hydra_runtime, launch, run_lookup
from imgrec.config import folders
from imgrec.config.compose import compose, of_study
from imgrec.errors import UsageError
from imgrec.help_page import help_page

RECIPE = """\
# @package _global_
# A slow start.
defaults:
  - override /optimizer: slow_sgd
experiment: mine
trainer:
  max_epochs: 1
"""
STUDY = """\
# @package _global_
# Two rates of one recipe.
study: rates
hydra:
  mode: MULTIRUN
  sweeper:
    params:
      experiment: mine
      optimizer.lr: 0.001,0.01
"""
FILES = {
    "experiment/mine.yaml": RECIPE,
    "optimizer/slow_sgd.yaml": "# SGD at a low rate.\ndefaults: [sgd_schema]\nlr: 0.003\n",
    "study/rates.yaml": STUDY,
}
Said = tuple[int, str, str]


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[Mapping[str, str]], Path]:
    """Lay files out in a folder whose name is hard on grammars."""

    def laid(files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / "it's my, c\\onf=1" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "it's my, c\\onf=1"

    return laid


@pytest.mark.long
def test_choices_recipes_and_studies_of_ones_own_are_trained_swept_explained_and_gone_on_with(
    folder: Callable[[Mapping[str, str]], Path], tiny: list[str], command: Callable[..., Said], workplace: Path
) -> None:
    own = folder(FILES)
    words = [word for word in tiny if not word.startswith(("hydra.", "trainer.max_epochs", "optimizer"))]
    option = ["--config-dir", str(own)]
    code, out, err = command("train", *option, "experiment=mine", *words, "hydra.run.dir=run")
    assert code == 0, err
    record = json.loads(Path("run/record.json").read_text())
    assert (record["experiment"], record["config"]["optimizer.lr"]) == ("mine", 0.003)
    code, out, err = command("train", *option, "study=rates", *words)
    assert code == 0, err
    assert "2 runs in outputs/rates" in out
    assert "optimizer.lr: 0.001,0.01" in Path("outputs/rates/multirun.yaml").read_text()
    code, out, _ = command("train", *option, "--help", "experiment=mine", "optimizer=slow_sgd")
    assert "A slow start." in out
    assert "optimizer=slow_sgd" in out
    assert "(0.003" in out
    code, out, err = command("train", *option, "experiment=mine", *words, "--cfg", "job")
    assert code == 0, err
    assert "experiment: mine" in out
    more = ["resume=run", "trainer.max_epochs=2", "resume_override=[trainer.max_epochs]"]
    code, _, err = command("train", *more)
    assert code == 2
    assert "experiment must be one of" in err
    assert "got 'mine'; one of your own needs --config-dir DIR" in err
    code, _, err = command("train", *option, *more)
    assert code == 0, err


@pytest.mark.long
def test_a_program_names_the_folder_and_only_its_call_looks_there(
    folder: Callable[[Mapping[str, str]], Path], tiny: list[str], workplace: Path
) -> None:
    words = [word for word in tiny if not word.startswith("optimizer")]
    outcome = launch.train([*words, "optimizer=slow_sgd", "trainer.max_epochs=1"], config_dir=folder(FILES))
    assert outcome.record.config["optimizer.lr"] == 0.003
    with pytest.raises(UsageError, match="optimizer must be one of"):
        compose(["optimizer=slow_sgd"])


def test_an_edited_file_is_read_again(folder: Callable[[Mapping[str, str]], Path]) -> None:
    own = folder(FILES)
    with folders.also(own):
        assert compose(["optimizer=slow_sgd"]).optimizer.lr == 0.003  # type: ignore[attr-defined]
        (own / "optimizer/slow_sgd.yaml").write_text("defaults: [sgd_schema]\nlr: 0.5\n")
        assert compose(["optimizer=slow_sgd"]).optimizer.lr == 0.5  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "must be a folder of YAML files, as conf/ is, and there is none; name another"),
        ({"notes.txt": ""}, "must hold YAML files, such as experiment/mine.yaml, and holds none; name another"),
        ({"mine.yaml": ""}, "mine.yaml must lie in a folder of its axis, experiment/ or study/, such as"),
        ({"optimiser/mine.yaml": ""}, "optimiser/mine.yaml must lie in a folder of its axis"),
        (
            {"optimizer/my-sgd.yaml": ""},
            "my-sgd.yaml must be named by letters, digits and underscores, as no number and no null, and must not",
        ),
        ({"optimizer/adam.yaml": ""}, "optimizer/adam.yaml must have a name that is free, and optimizer=adam is th"),
        ({"experiment/demo.yaml": ""}, "experiment/demo.yaml must have a name that is free, and experiment=demo is "),
        (
            {"experiment/mine.yaml": "hydra:\n  callbacks:\n    x: {_target_: os.system}\n"},
            "must set values alone, and a study hydra.sweeper.params; remove its other hydra: keys",
        ),
        (
            {"experiment/mine.yaml": "# @package hydra.callbacks\nx: {_target_: os.system}\n"},
            "got @package hydra.callb",
        ),
        ({"optimizer/mine.yaml": "# @package _global_\nlr: 1\n"}, "got @package _global_; remove that line"),
        ({"experiment/mine.yaml": "defaults: [{override /hydra/launcher: basic}]\n"}, "none of Hydra's own groups"),
        (
            {"experiment/mine.yaml": "x: !!python/object/apply:pathlib.Path [a]\nhydra: {verbose: true}\n"},
            "must set values alone, and a study hydra.sweeper.params; remove its other hydra: keys",
        ),
        ({"optimizer/momentum_schema.yaml": "lr: 0.7\n"}, "must not end with _schema; rename it"),
        ({"optimizer/null.yaml": "lr: 0.7\n"}, "as no number and no null"),
        (
            {"optimizer/mine.yaml": "defaults: [sgd_schema]\nlr: [\n"},
            "optimizer/mine.yaml, line 3: it must be YAML, and cannot be read: expected the node content, but found"
            " '<stream end>'; mend the line, or the one before",
        ),
        (
            {"optimizer/mine.yaml": "lr: 1\nlr: 2\n"},
            "line 2: it must be YAML, and cannot be read: found duplicate key lr; leave out one of the two",
        ),
        (
            {"experiment/mine.yaml": "trainer:\n\tmax_epochs: 1\n"},
            "line 2: it must be YAML, and cannot be read: ",
        ),
        ({"experiment/mine.yaml": "trainer:\n\tmax_epochs: 1\n"}, "; indent by blanks, not by tabs"),
        (
            {"study/mine.yaml": "# @package _global_\n- seed: 1\n"},
            "line 2: it must hold keys and values, such as tr",
        ),
        ({"study/mine.yaml": "# @package _global_\n"}, "such as trainer: {max_epochs: 3}, got nothing; write some"),
        ({"optimizer/mine.yaml": ""}, "such as defaults: [NAME_schema], got nothing; write some"),
        (
            {"optimizer/mine.yaml": "sgd\n"},
            "such as defaults: [NAME_schema], got a single word; w",
        ),
        (
            {"optimizer/mine.yaml": "3\n"},
            "such as defaults: [NAME_schema], got a single word; w",
        ),
        (
            {"optimizer/mine.yaml": "lr: 1\n---\nlr: 2\n"},
            "line 2: it must be YAML, and cannot be read: but ",
        ),
        (
            {"optimizer/mine.yaml": "lr: 1\ndefaults: sgd_schema\n"},
            "line 2: defaults must be a list such as [NAME_schema] or [override /optimizer: adam], got 'sgd_schema'",
        ),
        (
            {"experiment/mine.yaml": "defaults:\n  - override /data: digits\n  - override /model: 3\n"},
            "line 3: defaults must be a list such as [NAME_schema] or [override /optimizer: adam], got {",
        ),
        (
            {"experiment/mine.yaml": "# @package _global_\nseed: 1\ntrainer: 3\n"},
            "line 3: trainer must have its settings below it, got 3; indent them there, and choose by defaults: [",
        ),
        (
            {"study/mine.yaml": "# @package _global_\nhydra:\n  sweeper:\n    params: [1]\n"},
            "line 4: params must hold keys and values, such as seed: 0,1, got [1]; write them so",
        ),
        (
            {"experiment/mine.yaml": "# @package _global_\nseed: 1\nexperiment: demo\n"},
            "line 3: experiment must be mine, the name of the file, which names the folder of its runs, got 'demo'; ",
        ),
        (
            {"study/mine.yaml": "# @package _global_\nstudy: digits\n"},
            "line 2: study must be mine, the name of",
        ),
        ({"optimizer/mine.yml": "lr: 0.7\n"}, "optimizer/mine.yml must end with .yaml to be found; rename it"),
        (
            {"study/mine.yaml": "hydra:\n  sweeper:\n    _target_: os.system\n    params: {}\n"},
            "must set values alone, and a study hydra.sweeper.params; remove its other hydra: keys",
        ),
    ],
)
def test_a_folder_that_no_command_could_use_is_refused(
    folder: Callable[[Mapping[str, str]], Path], files: Mapping[str, str], sentence: str
) -> None:
    with contextlib.ExitStack() as stack, pytest.raises(UsageError) as refused:
        stack.enter_context(folders.also(folder(files)))
    assert str(refused.value).startswith("--config-dir ")
    assert sentence in str(refused.value)


def test_bytes_that_are_no_text_are_refused_with_their_line(folder: Callable[[Mapping[str, str]], Path]) -> None:
    own = folder(FILES)
    (own / "optimizer/slow_sgd.yaml").write_bytes(b"# SGD.\ndefaults: [sgd_schema]\n# \xe4\n")
    sentence = r"slow_sgd\.yaml, line 3: it must be text in UTF-8, got the byte 0xe4; save it as UTF-8$"
    with contextlib.ExitStack() as stack, pytest.raises(UsageError, match=sentence):
        stack.enter_context(folders.also(own))


def test_what_is_broken_after_the_folder_was_checked_is_refused_where_it_is_read(
    folder: Callable[[Mapping[str, str]], Path],
) -> None:
    own = folder(FILES)
    with folders.also(own):
        for name in FILES:
            (own / name).write_text("a: [\n")
        for word in ("experiment=mine", "optimizer=slow_sgd", "study=rates"):
            for asked in (lambda word=word: help_page([word]), lambda word=word: compose([word])):
                with pytest.raises(UsageError, match=r"yaml\"?, line 2: it must be YAML, and cannot be read: .*; mend"):
                    asked()
        with pytest.raises(UsageError, match=r"rates\.yaml\"?, line 2: it must be YAML, and cannot be read: "):
            of_study(["study=rates"])


@pytest.mark.long
def test_a_recipe_and_a_study_need_not_name_themselves(
    folder: Callable[[Mapping[str, str]], Path], command: Callable[..., Said], workplace: Path
) -> None:
    nameless = {name: text.replace("experiment: mine\n", "", 1) for name, text in FILES.items()}
    nameless["experiment/heir.yaml"] = "# @package _global_\ndefaults: [demo, _self_]\nseed: 3\n"
    nameless["study/seeds_of_mine.yaml"] = (
        "# @package _global_\ndefaults: [override /experiment: mine]\nhydra: {sweeper: {params: {seed: '0,1'}}}\n"
    )
    own = folder(nameless)
    with folders.also(own):
        assert (compose(["experiment=mine"]).experiment, compose(["experiment=heir"]).experiment) == ("mine", "heir")
        both = compose(["study=seeds_of_mine"])
        assert (both.experiment, both.study) == ("mine", "seeds_of_mine")
        assert run_lookup.group(compose(["experiment=mine"])) == Path("outputs/mine")
        assert (compose(["experiment=demo"]).experiment, compose([]).experiment) == ("demo", None)
        assert "\nstudy: seeds_of_mine\n" in hydra_runtime.of_sweep(["study=seeds_of_mine"])
    code, out, err = command("train", "--config-dir", str(own), "study=seeds_of_mine", "--cfg", "job")
    assert code == 0, err
    assert "\nexperiment: mine\nstudy: seeds_of_mine\n" in out


@pytest.mark.long
def test_help_shows_a_recipe_with_what_it_builds_on_and_keys_with_their_values_there(
    folder: Callable[[Mapping[str, str]], Path],
) -> None:
    files = {**FILES, "experiment/heir.yaml": "# @package _global_\n# An heir.\ndefaults: [mine, _self_]\nseed: 3\n"}
    with folders.also(folder(files)):
        page = help_page(["experiment=heir"])
        for word in ("optimizer=slow_sgd", "trainer.max_epochs=1", "seed=3"):
            assert f"    {word}\n" in page
        assert "imgrec train --config-dir " in " ".join(page.split())
        page = " ".join(help_page(["experiment=heir", "optimizer.lr", "trainer.max_epochs", "trainer=auto"]).split())
        assert "(0.003; elsewhere 0.01; > 0)" in page
        assert page.count("(1; elsewhere 10; in [1, 1000000])") == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("defaults: [sgd_schema]\nlr: high\n", "optimizer.lr: value 'high'"),
        ("defaults: [sgd_schema]\nrate: 1\n", "optimizer.rate is not a key"),
        ("defaults: [sgd_schema]\n_target_: os.system\n", "optimizer._target_ is not a key"),
        ("lr: 1\n", "it must name its schema; add a line such as defaults: ["),
        ("defaults: [mine]\nlr: 1\n", "must not name itself in its defaults"),
        ("\ufeffdefaults: [sgd_schema]\n", "line 1: it must be UTF-8 without a byte order mark"),
        ("defaults:\nlr: 1\n", "line 1: defaults must name something, and is empty; leave the line out"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_place(
    folder: Callable[[Mapping[str, str]], Path], text: str, sentence: str
) -> None:
    with (
        pytest.raises(UsageError, match=r"must|is not a key|value") as refused,
        folders.also(folder({"optimizer/mine.yaml": text})),
    ):
        compose(["optimizer=mine"])
    assert sentence in str(refused.value)
