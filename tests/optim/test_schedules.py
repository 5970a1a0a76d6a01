"""Test schedules against PyTorch's, against their definitions, and in an interrupted run."""

import io

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

from imgrec.components.schedule.constant import Constant
from imgrec.components.schedule.cosine import Cosine
from imgrec.components.schedule.linear import Linear
from imgrec.components.schedule.one_cycle import OneCycle
from imgrec.components.schedule.step import Step
from imgrec.config import schedule as config
from imgrec.optim.schedules import build_schedule

SCHEDULES = [
    Constant(),
    Step(),
    Cosine(final=0.1),
    Linear(),
    OneCycle(),
    Cosine(warmup=0.1),
]
every_schedule = pytest.mark.parametrize("cfg", SCHEDULES, ids=repr)


def sgd(*rates: float) -> Optimizer:
    return SGD([{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates], lr=1.0)


def rates_along(optimizer: Optimizer, schedule: LRScheduler, steps: int) -> list[float]:
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize("total", [4, 10, 97, 1000])
@pytest.mark.parametrize("peak_at", [0.3, 0.5, 0.9])
def test_one_cycle_is_pytorchs(total: int, peak_at: float) -> None:
    optimizer = sgd(1.0)
    theirs = OneCycleLR(optimizer, max_lr=0.5, total_steps=total, pct_start=peak_at, cycle_momentum=False)
    expected = [theirs.get_last_lr()[0]]
    for _ in range(total - 1):
        optimizer.step()
        theirs.step()
        expected.append(theirs.get_last_lr()[0])
    ours = [0.5 * OneCycle(peak_at=peak_at).share(step, total) for step in range(total)]
    assert ours == pytest.approx(expected, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("final", [0.0, 0.2])
def test_cosine_is_pytorchs(final: float) -> None:
    optimizer = sgd(0.5)
    theirs = CosineAnnealingLR(optimizer, T_max=50, eta_min=0.5 * final)
    ours = [0.5 * Cosine(final=final).share(step, 50) for step in range(50)]
    assert ours == pytest.approx(rates_along(optimizer, theirs, 50), rel=1e-9)


def test_linear_is_a_straight_line() -> None:
    assert [Linear(final=0.2).share(step, 4) for step in range(5)] == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])


def test_step_falls_at_its_milestones() -> None:
    shares = [Step(milestones=[0.5, 0.75], gamma=0.1).share(step, 8) for step in range(8)]
    assert shares == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_a_milestone_is_not_late_by_rounding() -> None:
    assert 0.55 * 100 > 55
    assert Step(milestones=[0.55]).share(54, 100) == 1
    assert Step(milestones=[0.55]).share(55, 100) == pytest.approx(0.1)


def test_warmup_climbs_to_the_peak_and_the_rest_follows_the_schedule() -> None:
    shares = [Linear(warmup=0.4).share(step, 10) for step in range(10)]
    assert shares[:4] == pytest.approx([0.25, 0.5, 0.75, 1])
    assert shares[4:] == pytest.approx([1 - step / 6 for step in range(6)])


def test_milestones_are_shares_of_all_steps_with_warmup_too() -> None:
    shares = [Step(warmup=0.2, milestones=[0.5]).share(step, 10) for step in range(10)]
    assert shares == pytest.approx([0.5, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1])


@every_schedule
@pytest.mark.parametrize("total", [1, 2, 3, 7])
def test_the_shortest_runs_are_valid(cfg: config.Schedule, total: int) -> None:
    assert all(0 <= cfg.share(step, total) <= 1 for step in range(total + 1))


def test_warmup_may_take_every_step_of_a_short_run() -> None:
    assert [Cosine(warmup=0.99).share(step, 3) for step in range(3)] == pytest.approx([1 / 3, 2 / 3, 1])


@every_schedule
def test_past_the_end_the_rate_stays(cfg: config.Schedule) -> None:
    assert cfg.share(200, 100) == cfg.share(100, 100)


def test_no_steps_and_steps_before_the_first_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 step in all, got 0"):
        Constant().share(0, 0)
    with pytest.raises(ValueError, match="steps count from 0, got -1"):
        Constant().share(-1, 10)
    with pytest.raises(ValueError, match="at least 1 step in all, got 0"):
        build_schedule(Constant(), sgd(0.1), 0)
    with pytest.raises(TypeError, match="abstract class Schedule"):
        config.Schedule(name="nothing").share(0, 1)


@every_schedule
def test_every_group_follows_from_its_own_peak(cfg: config.Schedule) -> None:
    optimizer = sgd(0.5, 0.02)
    schedule = build_schedule(cfg, optimizer, 10)
    for step in range(10):
        expected = [peak * cfg.share(step, 10) for peak in (0.5, 0.02)]
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(expected)
        assert schedule.get_last_lr() == pytest.approx(expected)
        optimizer.step()
        schedule.step()


def interrupted(cfg: config.Schedule, *, peak: float, total: int) -> tuple[Optimizer, LRScheduler]:
    """A run of 10 steps at peak 0.5, stopped after 4, taken up by a new one with `peak` and `total`."""
    optimizer = sgd(0.5)
    schedule = build_schedule(cfg, optimizer, 10)
    rates_along(optimizer, schedule, 4)
    file = io.BytesIO()
    torch.save((optimizer.state_dict(), schedule.state_dict()), file)
    file.seek(0)
    optimizer_state, schedule_state = torch.load(file, weights_only=True)

    resumed = sgd(peak)
    resumed_schedule = build_schedule(cfg, resumed, total)
    resumed.load_state_dict(optimizer_state)
    resumed_schedule.load_state_dict(schedule_state)
    return resumed, resumed_schedule


@every_schedule
def test_a_resumed_run_goes_on_bit_for_bit(cfg: config.Schedule) -> None:
    straight = sgd(0.5)
    expected = rates_along(straight, build_schedule(cfg, straight, 10), 10)
    assert rates_along(*interrupted(cfg, peak=0.5, total=10), 6) == expected[4:]


@every_schedule
def test_a_resumed_run_may_go_on_longer_and_with_another_rate(cfg: config.Schedule) -> None:
    resumed, schedule = interrupted(cfg, peak=0.25, total=30)
    assert schedule.get_last_lr()[0] == resumed.param_groups[0]["lr"]
    expected = [0.25 * cfg.share(step, 30) for step in range(4, 30)]
    assert rates_along(resumed, schedule, 26) == pytest.approx(expected)
