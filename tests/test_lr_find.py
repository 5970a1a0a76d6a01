"""Test `imgrec lr-find`: rates that grow, the steepest fall of the loss, and nothing else that is left."""

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import lightning
import pandas as pd
import pytest
import torch
from runs import one_line

from imgrec.config.compose import compose
from imgrec.lr_find import RangeTest, lr_find

Said = tuple[int, str, str]


@pytest.mark.long
def test_it_suggests_a_rate_with_the_command_that_takes_it(
    tiny: list[str], command: Callable[..., Said], workplace: Path
) -> None:
    code, out, err = command("lr-find", *tiny, "optimizer.lr_scale=2", "--steps", "60", "-o", "found")
    assert code == 0, err
    assert sorted(path.name for path in workplace.iterdir()) == ["found"]
    assert sorted(path.name for path in Path("found").iterdir()) == ["lr_find.csv", "lr_find.png"]
    first, _, last = out.splitlines()
    words = last.removeprefix("imgrec train ").replace("'", "").split()
    scale = compose(words).optimizer.lr_scale
    assert words[:-1] == tiny
    assert first == f"the loss falls fastest at a learning rate of {0.001 * scale:g}: found/lr_find.png"
    table = pd.read_csv("found/lr_find.csv")
    assert table["factor"].iloc[0] == 0.001
    growth = table["factor"].iloc[1:].to_numpy() / table["factor"].iloc[:-1].to_numpy()
    assert growth == pytest.approx((1e3 / 1e-3) ** (1 / 59))
    assert table["rate"].tolist() == pytest.approx([0.002 * factor for factor in table["factor"]])
    assert table["factor"].min() * 2 < scale < table["factor"].max() * 2


@pytest.mark.parametrize(
    "words",
    [
        ["model.freeze=backbone", "model.unfreeze_at=40", "trainer.max_epochs=41"],
        ["trainer.fast_dev_run=true"],
        ["data.prune=0.3", "data.prune_after=0.5", "trainer.max_epochs=4"],
        ["optimizer.sam_rho=0.05", "trainer.swa_from=0.5", "trainer.max_epochs=4"],
    ],
    ids=lambda words: words[0].partition("=")[0],
)
@pytest.mark.long
def test_a_run_of_any_kind_is_tried_for_all_steps(tiny: list[str], words: list[str], workplace: Path) -> None:
    lr_find([*tiny, *words], output=Path("found"), low=1e-3, high=300.0, steps=30)
    table = pd.read_csv("found/lr_find.csv")
    assert len(table) == 30


def stepped(test: RangeTest, losses: Callable[[float], float], steps: int) -> None:
    """Let the test see a loss that depends on the factor."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.5)
    schedule = SimpleNamespace(scheduler=SimpleNamespace(base_lrs=[0.5]))
    trainer: Any = SimpleNamespace(lr_scheduler_configs=[schedule], accumulate_grad_batches=1, should_stop=False)
    module = cast(lightning.LightningModule, None)
    for step in range(steps):
        test.on_before_optimizer_step(trainer, module, optimizer)
        assert optimizer.param_groups[0]["lr"] == 0.5 * test.factors[-1]
        test.on_train_batch_end(trainer, module, {"loss": torch.tensor(losses(test.factors[-1]))}, None, step)
        if trainer.should_stop:
            return


def test_the_steepest_fall_is_found_before_the_loss_rises() -> None:
    test = RangeTest(low=1e-3, high=1e3, steps=121)
    # falls around 0.1, is lowest at 1, and falls even faster again beyond 10, once it has diverged and come back
    stepped(test, lambda factor: 2 - math.tanh(3 * math.log10(factor / 0.1)) + (1.5 * factor if factor > 1 else 0), 121)
    best = test.steepest()
    assert best is not None
    assert test.factors[best] == pytest.approx(0.1, rel=0.15)
    assert test.has_diverged
    assert len(test.losses) < 121


@pytest.mark.parametrize("loss", [lambda factor: 1 + factor, lambda factor: math.nan])
def test_a_loss_that_never_falls_suggests_nothing(loss: Callable[[float], float]) -> None:
    test = RangeTest(low=1e-3, high=1e3, steps=50)
    stepped(test, loss, 50)
    assert test.steepest() is None


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--from", "0"], 2, "--from must be > 0 and finite, got 0.0"),
        (["--from", "1", "--to", "0.5"], 2, "--to must be > 1.0 and finite, got 0.5"),
        (["--steps", "5"], 2, "--steps must be >= 30 and finite, got 5"),
        (["resume=RUN"], 2, "lr-find begins with a new network, got resume=RUN; leave it out, or begin with its"),
        (["trainer=ddp"], 2, "lr-find needs a run of one process, got 2; leave out trainer=ddp"),
        (["optimizer.lr=0.1,0.2"], 2, "asks for several runs"),
        (["--from", "1e6", "--to", "1e9"], 1, "the loss must fall somewhere between 1e+06 and 1e+09 times the"),
    ],
)
def test_what_cannot_be_tried_is_refused(
    tiny: list[str], command: Callable[..., Said], workplace: Path, words: list[str], code: int, sentence: str
) -> None:
    found, out, err = command("lr-find", *tiny, *words)
    assert (found, out) == (code, "")
    assert sentence in one_line(err)
    assert list(workplace.iterdir()) == []
