"""Define callback=timer."""

import re
from typing import TYPE_CHECKING

from imgrec.config.callback import Callback
from imgrec.config.fields import setting
from imgrec.config.registry import register
from imgrec.errors import UsageError

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback as LightningCallback


@register("callback", "timer")
class Timer(Callback):
    """End the training after a time, which goes on where an interrupted run goes on (Lightning's Timer)."""

    duration: str = setting(
        "00:12:00:00",
        "the longest training with its validations, in the form DD:HH:MM:SS: days, hours, minutes, seconds",
    )
    interval: str = setting(
        "epoch", "when the time is looked at: after each epoch, or after each step", among=("epoch", "step")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"\d+:\d\d:\d\d:\d\d", self.duration) or not re.search("[1-9]", self.duration):
            raise UsageError(
                f"callback.timer.duration must have the form DD:HH:MM:SS and be more than 0, got {self.duration!r};"
                " half an hour is 00:00:30:00"
            )

    def build(self) -> "LightningCallback":
        """See `training.monitors`."""
        from imgrec.training.monitors import TimeLimit

        return TimeLimit(duration=self.duration, interval=self.interval)
