"""Define callback=lr_monitor."""

from typing import TYPE_CHECKING, ClassVar

from imgrec.config.callback import Callback
from imgrec.config.fields import setting
from imgrec.config.registry import register

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback as LightningCallback


@register("callback", "lr_monitor")
class LrMonitor(Callback):
    """Log the learning rate of each of the optimizer's parameter groups (Lightning's LearningRateMonitor)."""

    observes: ClassVar[bool] = True
    every: int = setting(50, "steps from one logged rate to the next", identity=False, at_least=1)
    log_momentum: bool = setting(False, "also log momentum, or Adam's first beta", identity=False)
    log_weight_decay: bool = setting(False, "also log the weight decay", identity=False)

    def build(self) -> "LightningCallback":
        """See `training.monitors`."""
        from imgrec.training.monitors import MonitorRate

        return MonitorRate(every=self.every, log_momentum=self.log_momentum, log_weight_decay=self.log_weight_decay)
