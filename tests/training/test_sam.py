"""Test SAM (optimizer.sam_rho): its steps are those of the paper, and nothing but the gradient changes."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from reads_back import ReadsBack
from runs import assert_same_run, steps_logged
from torch import nn

from imgrec import launch
from imgrec.config.compose import compose
from imgrec.curve_file import read_curves
from imgrec.errors import RunError, UsageError
from imgrec.optim.sam import perturbed

SAM = ("optimizer=momentum", "optimizer.lr=0.01", "optimizer.sam_rho=0.05", "model.batch_norm=true")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


def gradient(net: nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    images, classes = torch.rand(6, 3, 8, 8, generator=generator), torch.randint(3, (6,), generator=generator)
    net.zero_grad()
    F.cross_entropy(net(images), classes).backward()


def test_weights_move_by_rho_along_the_gradient_and_back_to_their_bits() -> None:
    net = network()
    gradient(net)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    gradients = torch.cat([weight.grad.flatten() for weight in net.parameters() if weight.grad is not None])
    with perturbed(net, 0.1):
        moves = torch.cat([(weight - before[name]).flatten() for name, weight in net.named_parameters()])
        assert float(moves.detach().norm()) == pytest.approx(0.1, rel=1e-4)
        torch.testing.assert_close(moves, 0.1 * gradients / gradients.norm(), atol=1e-6, rtol=1e-3)
        net(torch.rand(2, 3, 8, 8))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items()), "statistics too"
    gradient(net)
    assert not torch.equal(net.state_dict()["1.running_mean"], before["1.running_mean"]), "tracked again"


def test_moving_reads_nothing_back_from_the_device() -> None:
    net = network()
    gradient(net)
    with ReadsBack() as reads, perturbed(net, 0.1):
        pass
    assert reads.count == 0


def test_a_step_is_that_of_the_paper(tiny: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: the gradient at w + rho g / |g|, a step of SGD from w, and so on."""
    import imgrec

    words = [*tiny, "optimizer=sgd", "optimizer.lr=0.1", "optimizer.sam_rho=0.5", "trainer.max_epochs=1"]
    run = launch.train(words)
    parts = imgrec.compose(words)
    net = parts.module.network.train()
    for images, targets in parts.data.train_dataloader():
        images = images.contiguous(memory_format=torch.channels_last)
        weights = list(net.parameters())
        first = torch.autograd.grad(F.cross_entropy(net(images), targets), weights)
        norm = torch.cat([each.flatten() for each in first]).norm()
        before = [weight.detach().clone() for weight in weights]
        with torch.no_grad():
            for weight, each in zip(weights, first, strict=True):
                weight += 0.5 * each / norm
        second = torch.autograd.grad(F.cross_entropy(net(images), targets), weights)
        with torch.no_grad():
            for weight, old, each in zip(weights, before, second, strict=True):
                weight.copy_(old - 0.1 * each)
    ends = imgrec.load(run.folder, at="last").network.state_dict()
    for name, value in net.state_dict().items():
        torch.testing.assert_close(ends[name], value, rtol=1e-3, atol=1e-4, msg=name)
    plain = launch.train([*(word for word in words if "sam_rho" not in word)])
    assert plain.record.weights != run.record.weights


@pytest.mark.long
def test_scores_and_logged_losses_are_those_of_the_weights_themselves(tiny: list[str]) -> None:
    """At a rate of almost 0 the weights stay: SAM then logs what plain steps log."""
    logged = []
    for more in ([], ["optimizer.sam_rho=1"]):
        words = [*tiny, "optimizer=sgd", "optimizer.lr=1e-12", *more, "trainer.max_epochs=1"]
        rows = read_curves(launch.train(words).folder / "curves.csv")
        logged.append({(r["split"], r["metric"], r["step"]): r["value"] for r in rows if "second" not in r["metric"]})
    plain, sam = logged
    assert plain.keys() == sam.keys()
    assert ("train", "step_loss", "1") in plain
    for key, value in plain.items():
        assert float(sam[key]) == pytest.approx(float(value), abs=1e-5), key


@pytest.mark.long
def test_a_run_that_was_cut_goes_on_to_the_same_bits(
    tiny: list[str], imgrec: Callable[..., Any], undisturbed: Callable[..., Path], workplace: Path
) -> None:
    words = [*SAM, "trainer.max_epochs=2", "model.dropout=0.3"]
    command = ["train", *tiny, *words, "hydra.run.dir=cut"]
    child = imgrec(*command)
    assert child.signal_when(lambda: steps_logged(Path("cut")) >= 11, signal.SIGTERM) == 143, child.log.read_text()
    again = imgrec(*command)
    assert again.wait() == 0, again.log.read_text()
    assert_same_run(undisturbed(*words), workplace / "cut")


@pytest.mark.long
def test_a_loss_that_is_not_finite_has_ways_out_that_sam_takes(tiny: list[str]) -> None:
    """Steps cannot be skipped with SAM, which refuses trainer.nonfinite_skips."""
    words = [*tiny, "trainer.max_epochs=1"]
    with pytest.raises(RunError, match=r"loss must be finite, .*gradient_clip=1, or a lower optimizer\.sam_rho$"):
        launch.train([*words, "optimizer.sam_rho=1e30"])
    assert launch.train([*words, "optimizer.sam_rho=0.05"]).record.status == "finished"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("trainer.accumulate=2", r"optimizer\.sam_rho needs trainer\.accumulate=1, .* got 2; drop one of the two"),
        ("trainer.nonfinite_skips=3", r"needs trainer\.nonfinite_skips=0, as it computes two gradients a step, got 3"),
        ("trainer.graphs=true", r"needs trainer\.graphs=false, as it computes two gradients a step, got true"),
        ("trainer.precision=16-mixed", r"got 16-mixed; give trainer\.precision=bf16-mixed"),
        ("optimizer.sam_rho=-1", r"optimizer\.sam_rho must be >= 0 and finite, got -1"),
    ],
)
def test_what_assumes_one_gradient_a_step_is_refused(word: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        compose(["data=digits", "optimizer.sam_rho=0.05", word])
