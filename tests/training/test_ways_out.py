"""Test the advice in refusals to continue, to verify or to freeze: following it works."""

import json
import re
import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from runs import tree

from imgrec import launch, preflight
from imgrec.config import registry
from imgrec.config.compose import compose
from imgrec.data import inventory
from imgrec.errors import RunError, UsageError
from imgrec.sweeps.run import Sweep
from imgrec.training.saver import Saver


class BegunError(Exception):
    """A run under test has reached its first step."""


@pytest.fixture
def begins(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[str]], None]:
    """Let the run of these words begin, and end it at its first step."""

    def end(self: Saver, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        raise BegunError

    def begin(words: Sequence[str]) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(Saver, "on_train_batch_start", end)
            with pytest.raises(BegunError):
                launch.train(words)

    return begin


def refusal(words: Sequence[str]) -> str:
    """What the command says, which leaves nothing behind."""
    before = tree(Path())
    with pytest.raises((UsageError, RunError)) as error:
        launch.train(words)
    assert tree(Path()) == before
    return str(error.value)


def override(said: str) -> str:
    """The word that the refusal offers."""
    return re.findall(r"'(resume_override=\[.*?\])'", said)[0]


def anew(said: str) -> list[str]:
    """The command that the refusal offers, which ends the sentence."""
    command = shlex.split(said.partition("start a new run: ")[2])
    assert command[:2] == ["imgrec", "train"], said
    return command[2:]


MORE = ("trainer.max_epochs=2",)


@pytest.mark.long
def test_a_change_that_is_not_named_may_be_named(finished: Path, begins: Callable[..., None]) -> None:
    words = ["resume=run", "optimizer.lr=0.1", "model.dropout=0.5", *MORE]
    begins([*words, override(refusal(words))])


def test_a_change_that_no_resumed_run_can_have_is_made_in_a_new_one(
    finished: Path, begins: Callable[..., None]
) -> None:
    words = ["resume=run", "model.hidden=24", "optimizer=sgd", *MORE]
    said = refusal([*words, "resume_override=[model.hidden]"])
    assert "model.hidden 16 -> 24 (" in said
    assert "optimizer.name adam -> sgd (" in said
    begins(anew(said))


@pytest.mark.long
def test_a_run_with_nothing_left_goes_on_longer_or_is_measured(
    finished: Path, begins: Callable[..., None], command: Callable[..., tuple[int, str, str]]
) -> None:
    said = refusal(["resume=run", "optimizer.lr=0.1"])
    assert "give trainer.max_epochs=2 or more, with 'resume_override=[optimizer.lr,trainer.max_epochs]'" in said
    begins(["resume=run", "optimizer.lr=0.1", *MORE, override(said)])
    assert command("evaluate", re.findall(r"measure (\S+) again with imgrec evaluate", said)[0])[0] == 0
    begins(anew(said))


@pytest.mark.slow
def test_fewer_epochs_than_were_begun_become_more(
    undisturbed: Callable[..., Path], workplace: Path, begins: Callable[..., None]
) -> None:
    base = undisturbed("trainer.max_epochs=2", "schedule=cosine")
    said = refusal([f"resume={base}", "trainer.max_epochs=1", "seed=3"])
    assert "give trainer.max_epochs=3 or more" in said
    begins([f"resume={base}", "trainer.max_epochs=3", "seed=3", override(said)])
    begins(anew(said))


@pytest.mark.parametrize("change", ["another image", pytest.param("another class", marks=pytest.mark.slow)])
@pytest.mark.long
def test_other_images_may_be_named_or_begin_a_new_run(
    finished: Path, tiny_images: Path, begins: Callable[..., None], change: str
) -> None:
    shutil.copytree(tiny_images, "photos")
    if change == "another image":
        shutil.copy("photos/row/00.png", "photos/row/000.png")
        words = ["resume=run", "data.root=photos", "optimizer.lr=0.1", *MORE]
        said = refusal(words)
        begins([*words, override(said)])
    else:
        Path("photos/row").rename("photos/square")
        said = refusal(["resume=run", "data.root=photos", *MORE, "resume_override=[data.root,trainer.max_epochs]"])
        begins(anew(said))


@pytest.mark.long
def test_an_image_size_that_the_network_does_not_take_begins_a_new_run(
    finished: Path, begins: Callable[..., None]
) -> None:
    words = ["resume=run", "data.image_size=16", *MORE, "resume_override=[data.image_size,trainer.max_epochs]"]
    said = refusal(words)
    assert "drop the change of model.* or data.image_size, or start a new run: " in said
    begins(anew(said))


@pytest.mark.parametrize("damage", ["gone", pytest.param("damaged", marks=pytest.mark.slow)])
def test_a_run_without_a_whole_checkpoint_is_begun_anew(
    finished: Path, begins: Callable[..., None], damage: str
) -> None:
    for path in Path("run/checkpoints").glob("*.ckpt"):
        path.unlink()
        if damage == "damaged":
            path.write_bytes(b"damaged")
    words = ["resume=run", *MORE, "resume_override=[trainer.max_epochs]"]
    said = refusal(words)
    assert "restore one" in said or damage == "gone"
    begins(anew(said))


@pytest.mark.parametrize("words", [[], ["hydra.run.dir=other"], ["optimizer.lr=0.1", *MORE]])
def test_a_state_of_other_code_is_left_for_a_new_run(
    finished: Path, begins: Callable[..., None], words: list[str]
) -> None:
    rows = json.loads(Path("run/record.json").read_text())
    rows["code"]["imgrec.losses"] = "0" * 12 + " " + "1" * 12
    Path("run/record.json").write_text(json.dumps({**rows, "status": "interrupted"}))
    words = ["resume=run", *words, "resume_override=[optimizer.lr,trainer.max_epochs]"]
    said = refusal(words)
    assert "restore the code, or allow it with code=warn; start a new run: " in said
    begins(anew(said))


def test_a_finished_run_in_a_named_folder_is_done_over_in_another(
    tiny: list[str], finished: Path, command: Callable[..., tuple[int, str, str]], begins: Callable[..., None]
) -> None:
    words = [*tiny, "trainer.max_epochs=1", "hydra.run.dir=run"]
    _, out, _ = command("train", *words)
    assert out.startswith("finished already: run  (another hydra.run.dir does it over)")
    said = refusal([*words, "force=true"])
    assert said.endswith("hydra.run.dir=run names the finished one; give another hydra.run.dir")
    begins([*words, "hydra.run.dir=anew", "force=true"])


@pytest.mark.long
def test_what_belongs_to_another_command_is_said_so(
    finished: Path, tiny: list[str], begins: Callable[..., None]
) -> None:
    assert "add resume=RUN, or leave resume_override out" in refusal([*tiny, *MORE, "resume_override=[seed]"])
    begins([*tiny, *MORE])
    assert "add -m" in refusal([*tiny, "launcher=basic"])
    Sweep([*tiny, "launcher=basic"])
    assert "give another hydra.run.dir" in refusal([*tiny, "seed=8", "hydra.run.dir=run"])
    begins([*tiny, "seed=8", "hydra.run.dir=another"])


@pytest.mark.slow
def test_a_run_that_went_on_twice_names_the_one_that_can_be_verified(
    finished: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    first = launch.train(["resume=run", *MORE, "resume_override=[trainer.max_epochs]"])
    words = [f"resume={first.folder}", "trainer.max_epochs=3", "resume_override=[trainer.max_epochs]"]
    second = launch.train(words)
    code, _, err = command("verify", str(second.folder))
    assert code == 1
    (named,) = re.findall(r"that is not kept; verify (\S+), or train", err)
    assert Path(named).resolve() == finished
    assert command("verify", named)[0] == 0


FROZEN = ("model=resnet18", "model.freeze_backbone=true")


@pytest.mark.long
def test_a_random_backbone_is_not_frozen(tiny: list[str], begins: Callable[..., None]) -> None:
    words = [word for word in tiny if not word.startswith("model.")]
    said = refusal([*words, *FROZEN])
    assert "give model.pretrained=true model.stem=imagenet, or leave model.freeze_backbone out" in said
    with pytest.raises(UsageError, match="needs a backbone that has learned something"):
        Sweep([*words, *FROZEN, "seed=0,1"])
    config = compose([*words, *FROZEN, "model.pretrained=true", "model.stem=imagenet"])
    preflight.check(config, inventory.take(config.data), Path("new"))
    begins([*words, FROZEN[0]])


@pytest.mark.slow
def test_runs_of_a_random_backbone_of_before_stay_usable(
    tiny: list[str],
    monkeypatch: pytest.MonkeyPatch,
    begins: Callable[..., None],
    command: Callable[..., tuple[int, str, str]],
) -> None:
    words = [word for word in tiny if not word.startswith("model.")]
    with monkeypatch.context() as before:
        before.setattr(registry.components("model")["resnet18"], "check_beginning", lambda model: None)
        launch.train([*words, *FROZEN, "trainer.max_epochs=1", "hydra.run.dir=old"])
    assert launch.train([*words, *FROZEN, "trainer.max_epochs=1", "hydra.run.dir=old"]).already
    assert command("evaluate", "old")[0] == 0
    assert command("verify", "old")[0] == 0
    assert command("table", "old")[0] == 0
    begins(["resume=old", *MORE, "resume_override=[trainer.max_epochs]"])


@pytest.mark.parametrize("model", ["resnet18", "whitened_cnn"])
@pytest.mark.long
def test_a_last_batch_of_one_image_is_refused_where_it_has_no_variance(
    tiny: list[str], begins: Callable[..., None], model: str
) -> None:
    """60 training images make batches of 59 and one. Two stages of whitened_cnn leave one value of 5 px."""
    words = [word for word in tiny if not word.startswith(("model.", "data.batch_size"))]
    words += [f"model={model}", "data.batch_size=59"]
    if model == "whitened_cnn":
        words += ["model.widths=[4,8]", "augment.sizes=[5]", "augment.sizes_until=[0.5]"]
    said = refusal(words)
    assert "data.batch_size=59 leaves a batch of one image, of 60 training images on each device" in said
    (better,) = re.findall(r"give (data\.batch_size=\d+)$", said)
    begins([*words, better])


def test_a_last_batch_of_one_image_is_trained_where_it_has_a_variance(
    tiny: list[str], begins: Callable[..., None]
) -> None:
    begins([*tiny, "data.batch_size=59", "model.batch_norm=true"])
