"""Test loss=distillation: its formula, the teacher's part in a run, and the run's identity."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from runs import assert_same_run, state, steps_logged

from imgrec import assembly, checkpoint, launch, losses
from imgrec.config.compose import compose
from imgrec.errors import RunError, UsageError
from imgrec.models import parts
from imgrec.models.network import Network
from imgrec.verify import verify

WORDS = ("loss=distillation", "trainer.max_epochs=2")


def test_it_is_the_formula_of_the_paper() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, teacher = (torch.randn(5, 4, generator=generator) for _ in range(2))
    target = torch.tensor([0, 3, 1, 2, 2])
    p, q = (teacher / 3).softmax(dim=1), (logits / 3).softmax(dim=1)
    expected = 0.7 * 9 * (p * (p.log() - q.log())).sum(dim=1) + 0.3 * F.cross_entropy(logits, target, reduction="none")
    found = losses.distilled(logits, teacher, target, temperature=3, teacher_share=0.7, reduction="none")
    torch.testing.assert_close(found, expected)
    mean = losses.distilled(logits, teacher, target, temperature=3, teacher_share=0.7)
    torch.testing.assert_close(mean, expected.mean())
    rows = F.one_hot(target, 4).float()
    torch.testing.assert_close(losses.distilled(logits, teacher, rows, temperature=3, teacher_share=0.7), mean)
    alone = losses.distilled(logits, teacher, target, teacher_share=0)
    torch.testing.assert_close(alone, F.cross_entropy(logits, target))
    same = losses.distilled(logits, logits, target, teacher_share=1)
    assert float(same) == pytest.approx(0, abs=1e-6)


@pytest.mark.long
def test_a_run_learns_from_its_teacher_alone(tiny: list[str], undisturbed: Callable[..., Path]) -> None:
    """With a share of 1 the labels do not count: a run on wrong labels still learns what the teacher knows."""
    teacher = undisturbed("trainer.max_epochs=6")
    knows = launch.train([*tiny, "trainer.max_epochs=6"]).record.score("top1", split="test", at="last")
    words = [*tiny, "loss=distillation", f"loss.teacher={teacher}", "loss.teacher_share=1", "data.label_noise=1"]
    learned = launch.train([*words, "trainer.max_epochs=14"]).record.score("top1", split="test", at="last")
    misled = launch.train([*tiny, "data.label_noise=1", "trainer.max_epochs=8"]).record
    wrong = misled.score("top1", split="test", at="last")
    assert knows is not None
    assert learned is not None
    assert wrong is not None
    assert learned.value > wrong.value + 0.2
    assert learned.value > knows.value - 0.25


@pytest.mark.long
def test_the_teacher_s_weights_and_not_its_place_are_the_identity(
    tiny: list[str], undisturbed: Callable[..., Path], workplace: Path
) -> None:
    teacher, other = undisturbed("trainer.max_epochs=1"), undisturbed("trainer.max_epochs=2")
    shutil.copytree(teacher, workplace / "moved")
    run = launch.train([*tiny, *WORDS, f"loss.teacher={teacher}"])
    again = launch.train([*tiny, *WORDS, "loss.teacher=moved"])
    assert again.already
    assert again.record.run_id == run.record.run_id
    assert launch.train([*tiny, *WORDS, f"loss.teacher={other}"]).record.run_id != run.record.run_id
    digest = run.record.config["loss.teacher_digest"]
    assert compose([*tiny, *WORDS, f"loss.teacher={teacher}"]).loss.teacher_run == (str(teacher), digest)
    stored = state(run.folder)["state_dict"]
    plain = state(undisturbed("trainer.max_epochs=2"))["state_dict"]
    assert stored.keys() == plain.keys(), "the teacher is no part of the network"
    assert any(not torch.equal(stored[name], plain[name]) for name in stored)


@pytest.mark.long
def test_a_run_that_was_cut_goes_on_to_the_same_bits(
    tiny: list[str], imgrec: Callable[..., Any], undisturbed: Callable[..., Path], workplace: Path
) -> None:
    words = [*WORDS, f"loss.teacher={undisturbed('trainer.max_epochs=1')}", "augment=mixup"]
    command = ["train", *tiny, *words, "hydra.run.dir=cut"]
    child = imgrec(*command)
    assert child.signal_when(lambda: steps_logged(Path("cut")) >= 11, signal.SIGTERM) == 143, child.log.read_text()
    again = imgrec(*command)
    assert again.wait() == 0, again.log.read_text()
    assert_same_run(undisturbed(*words), workplace / "cut")


@pytest.mark.parametrize("key", ["init_from", "loss.teacher"])
@pytest.mark.long
def test_another_split_of_the_same_images_is_told(
    tiny: list[str], one_run: Path, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    """The network may have been trained on what is now held out."""
    words = [*tiny, f"{key}={one_run}", "trainer.max_epochs=1"]
    words += ["loss=distillation"] if key == "loss.teacher" else []
    launch.train([*words, "hydra.run.dir=same"])
    assert "may be among those" not in caplog.text
    launch.train([*words, "data.test_size=24", "data.split_seed=1", "hydra.run.dir=other"])
    assert f"{key}={one_run} was trained on these images with data.split_seed=0 data.test_size=12" in caplog.text
    assert "and here is data.split_seed=1 data.test_size=24: some of the validation and test images may" in caplog.text


def test_a_run_from_before_there_were_folds_is_told_of(
    tiny: list[str], one_run: Path, caplog: pytest.LogCaptureFixture, workplace: Path
) -> None:
    older = workplace / "older"
    shutil.copytree(one_run, older)
    path = older / "checkpoints/best.ckpt"
    content = torch.load(path, weights_only=True)
    for key in ("data.folds", "data.fold"):
        content["imgrec"]["config"].pop(key)
    checkpoint.save(content, path)
    launch.train([*tiny, f"init_from={path}", "trainer.max_epochs=1", "data.val_size=0.1", "data.folds=2"])
    assert "was trained on these images with data.val_size=12 data.folds=0, and here is" in caplog.text


@pytest.mark.long
def test_a_run_finds_its_teacher_from_any_folder(
    tiny: list[str], one_run: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workplace / "elsewhere").mkdir()
    shutil.copytree(one_run, workplace / "teacher")
    run = launch.train([*tiny, *WORDS, "loss.teacher=teacher", "trainer.max_epochs=1"])
    monkeypatch.chdir(workplace / "elsewhere")
    more = ["trainer.max_epochs=2", "resume_override=[trainer.max_epochs]"]
    longer = launch.train([f"resume={workplace / run.folder}", *more, "hydra.run.dir=longer"])
    assert longer.record.progress["epochs"] == 2
    assert verify(workplace / run.folder).refusal is None


def test_a_teacher_of_one_size_cannot_teach_with_growing_images(tiny: list[str], one_run: Path) -> None:
    others = [word for word in tiny if not word.startswith("model.")]
    words = [*others, "model=resnet20", *WORDS, "augment.sizes=[4]", "augment.sizes_until=[0.5]"]
    with pytest.raises(
        UsageError, match=r"\[4\] needs a teacher that takes them, .* is model=cnn, which takes one size"
    ):
        launch.train([*words, f"loss.teacher={one_run}"])


def test_a_teacher_s_damaged_weights_are_refused_by_its_own_key(tiny: list[str], one_run: Path) -> None:
    source = assembly.source(compose(tiny))
    module = assembly.classifier(compose(tiny), source, run_id="", fingerprint="", resumed=False)
    assert isinstance(module.network, Network)
    broken = {name: value * torch.nan for name, value in module.network.state_dict().items()}
    with pytest.raises(RunError, match=r"^loss\.teacher must name finite weights"):
        parts.put(module.network, broken, but=(), key="loss.teacher")


@pytest.mark.long
def test_what_cannot_teach_is_refused(tiny: list[str], one_run: Path, workplace: Path) -> None:
    with pytest.raises(UsageError, match=r"loss\.teacher must be the folder of a finished run, and nowhere is none"):
        launch.train([*tiny, *WORDS, "loss.teacher=nowhere"])
    with pytest.raises(UsageError, match=r"loss\.teacher must be the folder of a finished run, got ''"):
        launch.train([*tiny, *WORDS, "loss.teacher="])
    words = ["data=digits", *WORDS, f"loss.teacher={one_run}", "trainer=cpu", "trainer.progress=none"]
    with pytest.raises(UsageError, match=r"their classes differ: .*column.* there, .*; name another run"):
        launch.train(words)
    shutil.copytree(one_run, workplace / "teacher")
    changed = torch.load("teacher/checkpoints/best.ckpt", weights_only=True)
    name = next(iter(changed["state_dict"]))
    digest = compose([*tiny, *WORDS, "loss.teacher=teacher"]).loss.teacher_run
    assert digest is not None
    changed["state_dict"][name] += 1
    torch.save(changed, "teacher/checkpoints/best.ckpt")
    Path("teacher/checkpoints/best.ckpt.sha256").unlink(missing_ok=True)
    with pytest.raises(RunError, match=r"must hold the weights that the record of its run names"):
        launch.train([*tiny, *WORDS, "loss.teacher=teacher"])


@pytest.mark.long
def test_a_resumed_run_may_change_how_much_its_teacher_counts(
    tiny: list[str], undisturbed: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    teachers = [undisturbed(f"trainer.max_epochs={epochs}") for epochs in (1, 2)]
    words = ["loss=distillation", f"loss.teacher={teachers[0]}", "trainer.max_epochs=1", "hydra.run.dir=base"]
    launch.train([*tiny, *words])
    used, compute = set[tuple[float, float]](), losses.distilled

    def noting(*logits: Any, temperature: float, teacher_share: float, **rest: Any) -> Any:
        used.add((temperature, teacher_share))
        return compute(*logits, temperature=temperature, teacher_share=teacher_share, **rest)

    monkeypatch.setattr(losses, "distilled", noting)
    changes = ["loss.temperature=2", "loss.teacher_share=0.5", f"loss.teacher={teachers[1]}", "trainer.max_epochs=2"]
    named = "resume_override=[loss.temperature,loss.teacher_share,loss.teacher_digest,trainer.max_epochs]"
    with pytest.raises(UsageError, match=r"resume_override=\[loss\.teacher_digest,"):
        launch.train(["resume=base", *changes])
    longer = launch.train(["resume=base", *changes, named])
    assert used == {(2.0, 0.5)}
    assert longer.record.config["loss.teacher"] == str(teachers[1])
