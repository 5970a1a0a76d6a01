"""Test a loss that is not finite: the message, the stored files, and the skipped steps."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from imgrec import assembly, checkpoint, launch
from imgrec.components.loss.cross_entropy import CrossEntropy
from imgrec.curve_file import read_curves
from imgrec.data.loader import TrainBatches
from imgrec.errors import RunError
from imgrec.losses import LossFunction

FOUR = ("trainer.max_epochs=2", "optimizer=momentum")  # 8 steps an epoch


class Spoilt(nn.Module):
    """The run's loss; not a number in the training steps of these numbers."""

    def __init__(self, loss: LossFunction, steps: set[int], spoil: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._loss, self._steps, self._spoil, self._count = loss, steps, spoil, 0

    def forward(self, logits_nk: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = self._loss(logits_nk, targets)
        if torch.is_grad_enabled():
            self._count += 1
            if self._count in self._steps:
                return self._spoil(loss)
        return loss


def broken_gradient(loss: Tensor) -> Tensor:
    """The same loss, whose gradient is no number."""
    return loss + (loss - loss.detach()).abs().sqrt()


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make the loss of these steps of the next run something else."""
    whole = CrossEntropy.build

    def arrange(*steps: int, by: Callable[[Tensor], Tensor] = lambda loss: loss * float("nan")) -> None:
        monkeypatch.setattr(CrossEntropy, "build", lambda cfg: Spoilt(whole(cfg), set(steps), by))

    return arrange


def run(words: list[str], folder: Path) -> Any:
    return launch.train([*words, f"hydra.run.dir={folder}"]).record


def failed(words: list[str], folder: Path) -> str:
    with pytest.raises(RunError) as caught:
        run(words, folder)
    assert json.loads((folder / "record.json").read_text())["status"] == "failed"
    return str(caught.value)


def test_the_first_bad_loss_stops_the_run_and_names_step_rate_images_and_checkpoint(
    tiny: list[str], workplace: Path, spoil: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    spoil(11)
    folder = workplace / "run"
    sentence = failed([*tiny, *FOUR], folder)
    assert "step 11: the loss must be finite, got nan at learning rate 0.1 on batch 2 of epoch 2 (training" in sentence
    assert f"the last good checkpoint: {folder}/checkpoints/last.ckpt at step 8; go on from there" in sentence
    source = assembly.source(launch.compose(tiny))
    batches = TrainBatches(
        source.train,
        augment=launch.compose(tiny).augment,
        num_classes=3,
        batch_size=8,
        seed=launch.compose(tiny).seed,
        rank=0,
        world_size=1,
    )
    images = batches.indices(1, 2)
    assert torch.equal(batches[1, 2][1], source.train.labels[images])
    assert f"({'training images ' + ', '.join(map(str, images))})" in sentence
    state = checkpoint.load(folder / "checkpoints/last.ckpt")
    assert state["global_step"] == 8


@pytest.mark.long
def test_a_rate_that_blows_the_weights_up_never_ends_in_a_table(tiny: list[str], workplace: Path) -> None:
    folder = workplace / "run"
    sentence = failed([*tiny, *FOUR, "optimizer.lr=1e30", "loss=mse"], folder)
    assert "must be finite" in sentence
    record = json.loads((folder / "record.json").read_text())
    assert record["scores"] == []
    assert "must be finite" in record["error"]
    assert not list((folder / "checkpoints").glob("*")), "no state was ever good"


def test_weights_that_break_in_the_last_step_of_all_are_not_saved(
    tiny: list[str], workplace: Path, spoil: Callable[..., None]
) -> None:
    spoil(18, by=broken_gradient)
    words = [*tiny, *FOUR, "data.val_size=0"]
    sentence = failed(words, workplace / "run")
    assert sentence.startswith("step 18: every weight must be finite, net.")
    assert checkpoint.load(workplace / "run/checkpoints/last.ckpt")["global_step"] == 9


def test_a_validation_loss_that_is_no_number_stops_before_the_save(
    tiny: list[str], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = CrossEntropy.build

    class Broken(nn.Module):
        def __init__(self, cfg: Any) -> None:
            super().__init__()
            self.loss = whole(cfg)

        def forward(self, logits_nk: Tensor, targets: Tensor) -> Tensor:
            return self.loss(logits_nk, targets) if torch.is_grad_enabled() else torch.tensor(float("nan"))

    monkeypatch.setattr(CrossEntropy, "build", lambda cfg: Broken(cfg))
    sentence = failed([*tiny, *FOUR], workplace / "run")
    begin = "step 8: the validation loss must be finite, got nan; the last good checkpoint: none; start again"
    assert sentence.startswith(begin)


@pytest.mark.long
def test_bad_steps_are_left_out_and_counted(
    tiny: list[str], workplace: Path, spoil: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    spoil(3, 12)
    words = [*tiny, *FOUR, "trainer.nonfinite_skips=2", "trainer.checkpoint_every=1"]
    record = run(words, workplace / "run")
    assert record.status == "finished"
    assert "step 3: the loss is not finite: left out, 1 of 2" in caplog.text
    assert "step 12: the loss is not finite: left out, 2 of 2" in caplog.text
    rows = read_curves(workplace / "run/curves.csv")
    losses = {int(row["step"]): row["value"] for row in rows if row["metric"] == "step_loss"}
    assert losses[3] == "nan"
    assert all(row["value"] != "nan" for row in rows if row["metric"] != "step_loss")


@pytest.mark.long
def test_a_step_left_out_moves_no_weight(tiny: list[str], workplace: Path, spoil: Callable[..., None]) -> None:
    words = [*tiny, "optimizer=adamw", "trainer.max_epochs=1", "data.val_size=0", "test=false"]
    spoil(*range(2, 10))
    run([*words, "trainer.nonfinite_skips=8"], workplace / "left out")
    spoil(2)
    failed([*words, "trainer.checkpoint_every=1"], workplace / "stopped")
    one, other = (
        checkpoint.load(workplace / name / "checkpoints/last.ckpt")["state_dict"] for name in ("left out", "stopped")
    )
    assert checkpoint.digest(one) == checkpoint.digest(other)


def test_what_batch_norm_saw_in_a_step_left_out_is_forgotten(
    tiny: list[str], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imgrec.classifier import Classifier

    forward, count = Classifier.forward, 0

    def overflowing(self: Classifier, images_nchw: Tensor) -> Tensor:
        nonlocal count
        count += self.training
        return forward(self, images_nchw * float("inf") if self.training and count == 5 else images_nchw)

    monkeypatch.setattr(Classifier, "forward", overflowing)
    record = run([*tiny, *FOUR, "model.batch_norm=true", "trainer.nonfinite_skips=1"], workplace / "run")
    assert record.status == "finished"
    weights = checkpoint.load(workplace / "run/checkpoints/last.ckpt")["state_dict"]
    assert all(bool(torch.isfinite(value).all()) for value in weights.values())
    counted = [int(value) for name, value in weights.items() if name.endswith("num_batches_tracked")]
    assert counted == [15, 15], "of 16 steps one was left out"


def test_a_gradient_that_is_not_finite_is_left_out_too(
    tiny: list[str], workplace: Path, spoil: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    spoil(5, by=broken_gradient)
    record = run([*tiny, *FOUR, "trainer.nonfinite_skips=1"], workplace / "run")
    assert record.status == "finished"
    assert "step 5: a gradient is not finite: left out, 1 of 1" in caplog.text


def test_one_more_than_allowed_stops_the_run_also_when_it_was_resumed_between(
    tiny: list[str], workplace: Path, spoil: Callable[..., None]
) -> None:
    spoil(3, 11)
    sentence = failed([*tiny, *FOUR, "trainer.nonfinite_skips=1"], workplace / "run")
    assert sentence.startswith("step 11: the loss must be finite, got nan")
    spoil(3)  # of the process that goes on: step 11 of the run
    again = failed([*tiny, *FOUR, "trainer.nonfinite_skips=1"], workplace / "run")
    assert again.startswith("step 11: the loss must be finite, got nan")
