"""Define the schedule axis: the learning rate at each step, as a share of its peak.

Times are shares of all optimizer steps, so that a run of one epoch is valid.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from imgrec.config.component import Component
from imgrec.config.fields import setting


@dataclass(kw_only=True)
class Schedule(Component):
    """A schedule. A subclass defines the rate after the warmup."""

    axis: ClassVar[str] = "schedule"

    warmup: float = setting(
        0.0, "share of all steps in which the rate climbs linearly from 0 to its peak", at_least=0, below=1
    )

    def share(self, step: int, total_steps: int) -> float:
        """Return the multiplier of the peak rate at an optimizer step.

        In the first round(warmup * total_steps) steps the rate rises linearly, and reaches its peak in the last of them
        (Goyal et al. 2017, section 2.2). After the last step the rate stays constant.

        Args:
            step: From 0 to total_steps - 1.
            total_steps: The number of steps of the run, at least 1.

        Raises:
            ValueError: total_steps < 1 or step < 0.
        """
        if total_steps < 1:
            raise ValueError(f"a schedule needs at least 1 step in all, got {total_steps}")
        if step < 0:
            raise ValueError(f"steps count from 0, got {step}")
        warmup_steps = round(self.warmup * total_steps)
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        # cosine and linear reach `final` one step after the last, as CosineAnnealingLR does with T_max = total_steps
        progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
        return self.after_warmup(progress, step, total_steps)

    @abstractmethod
    def after_warmup(self, progress: float, step: int, total_steps: int) -> float:
        """Return the multiplier of the peak rate at a step after the warmup.

        Args:
            progress: The share of the steps after the warmup that are done, in [0, 1].
            step: As in `share`.
            total_steps: As in `share`.
        """


def half_cosine(start: float, end: float, progress: float) -> float:
    """Return a value between start and end, along half a cosine.

    Args:
        start: The value at progress 0.
        end: The value at progress 1.
        progress: In [0, 1].
    """
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
