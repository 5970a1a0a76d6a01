"""The learning rate as a share of its peak, step by step.

`share` is pure; `build_schedule` hands it to PyTorch. A step is an optimizer step.
"""

import math
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from imgrec.config import schedule as config


def share(cfg: config.Schedule, step: int, total_steps: int) -> float:
    """The multiplier of the peak rate at `step` (0 .. total_steps - 1) of a run of `total_steps` >= 1.

    In the first round(warmup * total_steps) steps the rate climbs linearly and reaches its peak in the last of them
    (Goyal et al. 2017, section 2.2); the schedule runs over the steps that remain, but for `step`, whose milestones are
    shares of all steps. Past the end the rate stays where it arrived. Raises ValueError if total_steps < 1 or step < 0.
    """
    if total_steps < 1:
        raise ValueError(f"a schedule needs at least 1 step in all, got {total_steps}")
    if step < 0:
        raise ValueError(f"steps count from 0, got {step}")
    warmup_steps = round(cfg.warmup * total_steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    # cosine and linear arrive at `final` one step past the last, as CosineAnnealingLR with T_max = total_steps does
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    match cfg:
        case config.Constant():
            return 1.0
        case config.Step():
            # rounded: 0.55 * 100 is 55.00000000000001 in floating point, and would fall a step late
            passed = sum(step >= round(milestone * total_steps) for milestone in cfg.milestones)
            return float(cfg.gamma**passed)
        case config.Cosine():
            return _half_cosine(1.0, cfg.final, progress)
        case config.Linear():
            return 1.0 + (cfg.final - 1.0) * progress
        case config.OneCycle():
            return _one_cycle(cfg, min(step, total_steps - 1), total_steps)
        case _:
            raise TypeError(f"no schedule is known for {type(cfg).__name__}")


def _one_cycle(cfg: config.OneCycle, step: int, total_steps: int) -> float:
    """PyTorch's OneCycleLR with anneal_strategy=cos: the peak lies at step peak_at * total_steps - 1."""
    peak, last = cfg.peak_at * total_steps - 1, total_steps - 1
    if step <= peak:
        return _half_cosine(cfg.start, 1.0, step / peak if peak > 0 else 1.0)
    return _half_cosine(1.0, cfg.final, (step - peak) / (last - peak))


def _half_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def build_schedule(cfg: config.Schedule, optimizer: Optimizer, total_steps: int) -> "Schedule":
    """The schedule for PyTorch; call its step() after every step of the optimizer.

    Every group keeps its own peak: the rate that it has now. Raises ValueError if total_steps < 1.
    """
    return Schedule(cfg, optimizer, total_steps)


class Schedule(LambdaLR):
    """Its state is the position alone, plain numbers.

    Peaks, shape and length are the present run's: a run that goes on longer, or with another rate, follows its own
    schedule from the very next step. Load the optimizer's state first, as it brings the old rates with it.
    """

    def __init__(self, cfg: config.Schedule, optimizer: Optimizer, total_steps: int) -> None:
        super().__init__(optimizer, lambda step: share(cfg, step, total_steps))

    def state_dict(self) -> dict[str, Any]:
        return {"last_epoch": self.last_epoch, "_step_count": self._step_count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._go_to(state_dict["last_epoch"], state_dict["_step_count"])

    @property
    def position(self) -> int:
        """The step that comes next, counted from 0 to total_steps."""
        return int(self.last_epoch)

    def place(self, step: int) -> None:
        """Go on at this step, whatever the loaded state counted: its steps may have been of other batches."""
        if step != self.last_epoch:
            self._go_to(step, step + 1)

    def _go_to(self, step: int, count: int) -> None:
        self.last_epoch, self._step_count = step, count
        rates = [
            peak * multiplier(self.last_epoch) for peak, multiplier in zip(self.base_lrs, self.lr_lambdas, strict=True)
        ]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = rates
