"""Test optimizer=schedule_free: the weights that are scored, and that a cut run goes on with them."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import schedulefree
import torch
from runs import assert_same_run, state, steps_logged

import imgrec
from imgrec import launch
from imgrec.components.optimizer.schedule_free import ScheduleFree
from imgrec.config.compose import compose
from imgrec.errors import UsageError
from imgrec.optim.build import build_optimizer
from imgrec.optim.schedule_free import average_

FREE = ("optimizer=schedule_free", "schedule=constant", "trainer.max_epochs=2", "model.batch_norm=true")


@pytest.mark.long
def test_a_run_scores_the_average_with_statistics_of_its_own(tiny: list[str]) -> None:
    run = launch.train([*tiny, *FREE])
    found = state(run.folder)
    scored, trained = found["state_dict"], found["current_model_state"]
    (optimizer,) = found["optimizer_states"]
    names = [name for name in trained if not any(word in name for word in ("running", "num_batches", "mean", "std"))]
    shapes = [trained[name].shape for name in names]
    states = [optimizer["state"][number]["z"] for group in optimizer["param_groups"] for number in group["params"]]
    assert sorted(map(tuple, shapes)) == sorted(tuple(z.shape) for z in states)
    changed = 0
    for name in names:
        y, x = trained[name], scored[name]
        candidates = [z for z in states if z.shape == y.shape]
        # x lies on the line through y and z, beyond y: y = 0.1 z + 0.9 x
        assert any(torch.allclose(y, 0.1 * z + 0.9 * x, atol=1e-5) for z in candidates), name
        changed += not torch.equal(x, y)
    assert changed == len(names)
    statistics = [name for name in scored if "running" in name]
    assert statistics
    assert not any(torch.allclose(scored[name], trained[name]) for name in statistics)
    weights = imgrec.load(run.folder, at="last").network.state_dict()
    assert all(torch.equal(value, scored[f"network.{name}"]) for name, value in weights.items())


def test_the_average_is_that_of_the_authors_eval_mode() -> None:
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Linear(4, 3) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    optimizer = build_optimizer(ScheduleFree(beta1=0.8, weight_decay=0.1), ours)
    reference = schedulefree.AdamWScheduleFree(theirs.parameters(), lr=0.0025, betas=(0.8, 0.999), weight_decay=0.1)
    reference.train()
    for _ in range(5):
        images = torch.rand(8, 4)
        for net, each in ((ours, optimizer), (theirs, reference)):
            each.zero_grad()
            net(images).square().mean().backward()
            each.step()
    copies = {weight: weight.detach().clone() for weight in ours.parameters()}
    average_(copies, optimizer)
    reference.eval()
    for mine, other in zip(copies.values(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize(("step", "signum", "code"), [(5, signal.SIGTERM, 143), (11, signal.SIGKILL, -9)])
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
    words = ["train", *tiny, *FREE, "hydra.run.dir=cut"]
    child = imgrec(*words)
    assert child.signal_when(lambda: steps_logged(Path("cut")) >= step, signum) == code, child.log.read_text()
    again = imgrec(*words)
    assert again.wait() == 0, again.log.read_text()
    assert_same_run(undisturbed(*FREE), workplace / "cut")


@pytest.mark.parametrize(
    ("words", "way_out", "sentence"),
    [
        (
            ["schedule=cosine"],
            ["schedule=constant"],
            r"needs schedule=constant.* got schedule=cosine; add schedule=con",
        ),
        (["trainer.ema_decay=0.9"], [], r"and so does trainer\.ema_decay, got 0\.9; leave trainer\.ema_decay out"),
        (["trainer.swa_from=0.5"], [], r"and so does trainer\.swa_from, got 0\.5; leave trainer\.swa_from out"),
    ],
)
def test_a_falling_rate_and_a_second_average_are_refused(words: list[str], way_out: list[str], sentence: str) -> None:
    free = ["data=digits", "optimizer=schedule_free", "schedule=constant"]
    with pytest.raises(UsageError, match=sentence):
        compose([*free, *words])
    compose([*free, *way_out, "schedule.warmup=0.05"])


def test_a_trainer_of_one_s_own_is_refused_it_as_it_would_score_other_weights(tiny: list[str]) -> None:
    with pytest.raises(UsageError, match=r"only imgrec\.train carries out optimizer=schedule_free; leave it out"):
        imgrec.compose([*tiny, *FREE])


@pytest.mark.long
def test_a_resumed_run_keeps_the_share_that_its_weights_lie_by(tiny: list[str]) -> None:
    run = launch.train([*tiny, *FREE])
    words = [f"resume={run.folder}", "trainer.max_epochs=3", "optimizer.beta1=0.5"]
    for allowed in ("trainer.max_epochs", "trainer.max_epochs,optimizer.beta1"):
        with pytest.raises(UsageError, match=r"optimizer\.beta1.*the weights that train lie by it"):
            launch.train([*words, f"resume_override=[{allowed}]"])
    assert launch.train([*words[:2], "resume_override=[trainer.max_epochs]"]).record.status == "finished"
