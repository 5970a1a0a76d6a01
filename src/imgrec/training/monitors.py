"""Use Lightning's callbacks that observe a training or limit its time, with imgrec's steps.

Lightning's monitors log when a batch begins, under the number of the step before. A run that is killed and goes on from
that step would log such a row twice. These log each step under its own number, as all of imgrec does.
"""

from typing import Any

import lightning
from lightning.pytorch.accelerators.cpu import get_cpu_stats
from lightning.pytorch.callbacks import DeviceStatsMonitor, LearningRateMonitor, Timer
from torch.optim import Optimizer

from imgrec.curve_file import DEVICE

# of PyTorch's hundred numbers about a GPU's memory
_OF_GPU = (
    *("allocated_bytes.all.current", "allocated_bytes.all.peak", "reserved_bytes.all.current"),
    *("reserved_bytes.all.peak", "num_alloc_retries", "num_ooms"),
)


class MonitorRate(LearningRateMonitor):
    """Log the rate of each parameter group as `train/lr-<optimizer>`, with `-pg1`, `-pg2` for several groups.

    Args:
        every: Optimizer steps between two logged rates.
        log_momentum: True to log the momentum too, or the first beta.
        log_weight_decay: True to log the weight decay too.
    """

    def __init__(self, *, every: int, log_momentum: bool, log_weight_decay: bool) -> None:
        super().__init__(logging_interval="step", log_momentum=log_momentum, log_weight_decay=log_weight_decay)
        self._every = every

    def on_train_batch_start(self, trainer: lightning.Trainer, *args: Any, **kwargs: Any) -> None:
        """Do nothing, as the rate is logged with its step."""

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, optimizer: Optimizer
    ) -> None:
        step = trainer.global_step + 1  # the step that begins now
        if step % self._every:
            return
        found = self._extract_stats(trainer, "any")
        values = {f"train/{name.replace('/', '-')}": float(value) for name, value in found.items()}
        for logger in trainer.loggers:
            logger.log_metrics({**values, "epoch": float(trainer.current_epoch + 1)}, step=step)


class MonitorDevice(DeviceStatsMonitor):
    """Log what PyTorch tells of the GPU's memory, in bytes, or psutil of the CPU, in per cent, as `device/<name>`.

    Args:
        every: Optimizer steps between two measurements.
        cpu_stats: True to measure the CPU of a run on a GPU too.
    """

    def __init__(self, *, every: int, cpu_stats: bool) -> None:
        super().__init__(cpu_stats=cpu_stats or None)  # None measures the CPU of a run on the CPU
        self._every = every

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        if step % self._every or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        device = trainer.strategy.root_device
        found = trainer.accelerator.get_device_stats(device)
        if device.type == "cuda":
            found = {name: found[name] for name in _OF_GPU if name in found} | (
                get_cpu_stats() if self._cpu_stats else {}
            )
        values = {f"{DEVICE}/{name}": float(value) for name, value in found.items()}
        for logger in trainer.loggers:
            logger.log_metrics({**values, "epoch": float(trainer.current_epoch + 1)}, step=step)

    def _get_and_log_device_stats(self, trainer: lightning.Trainer, key: str) -> None:
        """Do nothing at Lightning's other moments: before each batch, and around those of the validation."""


class TimeLimit(Timer):
    """End the training after a time.

    Args:
        duration: The time, in the form DD:HH:MM:SS.
        interval: `epoch` to end with an epoch, `step` to end in the middle of one.
    """

    def __init__(self, *, duration: str, interval: str) -> None:
        super().__init__(duration=duration, interval=interval)

    def on_fit_start(self, trainer: lightning.Trainer, *args: Any, **kwargs: Any) -> None:
        """End a run that goes on after its time, unless it is to end with an epoch."""
        if self._interval == "step":
            super().on_fit_start(trainer, *args, **kwargs)
