"""Test SWA (trainer.swa_from): which weights are averaged, and that a cut run goes on with them."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import assert_same_run, state, steps_logged
from torch import Tensor
from torch.optim.swa_utils import update_bn

import imgrec
from imgrec import launch
from imgrec.config.compose import compose
from imgrec.errors import UsageError
from imgrec.training.epoch_weights import StochasticWeightAveraging

AVERAGED = ("trainer.swa_from=0.5", "trainer.max_epochs=4", "model.batch_norm=true", "schedule=constant")


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Tensor]]:
    """The weights at the end of each epoch, before they are averaged."""
    found: list[dict[str, Tensor]] = []
    update = StochasticWeightAveraging.on_train_batch_end

    def noting(self: Any, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx + 1 == trainer.num_training_batches:
            found.append({name: value.clone() for name, value in module.network.state_dict().items()})
        update(self, trainer, module, outputs, batch, batch_idx)

    monkeypatch.setattr(StochasticWeightAveraging, "on_train_batch_end", noting)
    return found


def test_the_ends_of_the_last_epochs_are_averaged(tiny: list[str], ends: list[dict[str, Tensor]]) -> None:
    run = launch.train([*tiny, *AVERAGED])
    assert len(ends) == 4
    trained = imgrec.load(run.folder, at="last")
    weights = trained.network.state_dict()
    for name, value in weights.items():
        if "running" not in name and value.is_floating_point():
            torch.testing.assert_close(value, (ends[2][name] + ends[3][name]) / 2, msg=name)
    parts = imgrec.compose([*tiny, *(word for word in AVERAGED if "swa_from" not in word)])  # the same batches
    reference = imgrec.load(run.folder, at="last").network
    images = [parts.data.train_dataloader().dataset[3, number] for number in range(8)]  # of the last epoch
    update_bn(images, reference)
    for name, value in reference.state_dict().items():
        if "running" in name:
            torch.testing.assert_close(weights[name], value, msg=name)
            assert not torch.allclose(value, ends[3][name]), "statistics of other weights"
    assert {name: value.tolist() for name, value in state(run.folder)["current_model_state"].items()} != {
        name: value.tolist() for name, value in state(run.folder)["state_dict"].items()
    }, "the checkpoint has the weights that are trained, too"


@pytest.mark.long
def test_until_it_begins_the_average_is_the_weights(
    tiny: list[str], ends: list[dict[str, Tensor]], caplog: pytest.LogCaptureFixture
) -> None:
    words = [*(word for word in AVERAGED if "swa_from" not in word), "trainer.swa_from=0.9"]
    run = launch.train([*tiny, *words])
    weights = imgrec.load(run.folder, at="last").network.state_dict()
    assert all(torch.equal(value, ends[3][name]) for name, value in weights.items()), "one epoch is its own average"
    assert "trainer.swa_from=0.9 of trainer.max_epochs=4 leaves one epoch, whose weights are no average" in caplog.text


@pytest.mark.parametrize(("step", "signum", "code"), [(11, signal.SIGTERM, 143), (27, signal.SIGKILL, -9)])
@pytest.mark.long
def test_a_run_that_was_cut_ends_with_the_same_average(
    tiny: list[str],
    imgrec: Callable[..., Any],
    undisturbed: Callable[..., Path],
    workplace: Path,
    step: int,
    signum: signal.Signals,
    code: int,
) -> None:
    """An epoch has 8 steps: the first cut is before the average begins, the second within it."""
    words = ["train", *tiny, *AVERAGED, "hydra.run.dir=cut"]
    child = imgrec(*words)
    assert child.signal_when(lambda: steps_logged(Path("cut")) >= step, signum) == code, child.log.read_text()
    again = imgrec(*words)
    assert again.wait() == 0, again.log.read_text()
    assert_same_run(undisturbed(*AVERAGED), workplace / "cut")


@pytest.mark.long
def test_it_may_begin_in_a_resumed_run_and_cannot_end_there(tiny: list[str], one_run: Path) -> None:
    changes = ["trainer.swa_from=0.5", "trainer.max_epochs=3"]
    named = "resume_override=[trainer.swa_from,trainer.max_epochs]"
    longer = launch.train([f"resume={one_run}", *changes, named, "hydra.run.dir=longer"])
    assert longer.record.config["trainer.swa_from"] == 0.5
    with pytest.raises(UsageError, match="best and last so far are the averaged weights"):
        launch.train(["resume=longer", "trainer.swa_from=0", "resume_override=[trainer.swa_from]"])


def test_two_averages_are_refused() -> None:
    words = ["data=digits", "trainer.swa_from=0.5", "trainer.ema_decay=0.9"]
    with pytest.raises(UsageError, match=r"one can be scored, got 0\.5 and 0\.9; drop one of the two"):
        compose(words)
    compose(words[:-1])
