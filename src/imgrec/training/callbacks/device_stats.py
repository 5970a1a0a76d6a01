"""Define callback=device_stats."""

from typing import TYPE_CHECKING, ClassVar

from imgrec.config.callback import Callback
from imgrec.config.fields import setting
from imgrec.config.registry import register

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback as LightningCallback


@register("callback", "device_stats")
class DeviceStats(Callback):
    """Log the use of the GPU's memory, or of the CPU, as device/... (Lightning's DeviceStatsMonitor)."""

    observes: ClassVar[bool] = True
    package: ClassVar[str | None] = "psutil"
    extra: ClassVar[str] = "stats"
    every: int = setting(50, "steps from one measurement to the next", identity=False, at_least=1)
    cpu_stats: bool = setting(False, "of a run on a GPU, also measure the CPU", identity=False)

    def build(self) -> "LightningCallback":
        """See `training.monitors`."""
        from imgrec.training.monitors import MonitorDevice

        return MonitorDevice(every=self.every, cpu_stats=self.cpu_stats)
