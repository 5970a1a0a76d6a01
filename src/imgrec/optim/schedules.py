"""Build the configuration's schedule for PyTorch. A step is an optimizer step."""

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from imgrec.config import schedule as config


def build_schedule(cfg: config.Schedule, optimizer: Optimizer, total_steps: int) -> "Schedule":
    """Build the schedule for PyTorch; call its step() after every step of the optimizer.

    The peak of each group is its present rate.

    Raises:
        ValueError: Total_steps < 1.
    """
    return Schedule(cfg, optimizer, total_steps)


class Schedule(LambdaLR):
    """A schedule whose saved state is only its position, as plain numbers.

    Peaks, shape and length are those of the present run: a run that is extended, or that has another rate, follows its
    own schedule from the next step on. Load the optimizer's state first, as it contains the old rates.
    """

    def __init__(self, cfg: config.Schedule, optimizer: Optimizer, total_steps: int) -> None:
        super().__init__(optimizer, lambda step: cfg.share(step, total_steps))

    def state_dict(self) -> dict[str, Any]:
        return {"last_epoch": self.last_epoch, "_step_count": self._step_count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._go_to(state_dict["last_epoch"], state_dict["_step_count"])

    @property
    def position(self) -> int:
        """The next step, counted from 0 to total_steps."""
        return int(self.last_epoch)

    def place(self, step: int) -> None:
        """Continue at this step, whatever step the loaded state counted.

        The steps of the loaded state may have had batches of another size.
        """
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
