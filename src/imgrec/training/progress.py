"""Show the progress and speed of a run on stderr: a bar on a terminal, else one line per epoch."""

import logging
import time
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, RichProgressBar

from imgrec.stored.resume_state import SpeedState

log = logging.getLogger(__name__)


class Speed(Callback):
    """Count images and seconds of the training without validation and saving, and log the numbers of a step.

    Args:
        every: Steps between two logged rows.
        resumed: The counts of earlier processes of this run.
    """

    def __init__(self, *, every: int, resumed: SpeedState | None = None) -> None:
        before = resumed or SpeedState()
        self._every = every
        self.images = before.images
        self.seconds = before.seconds
        self.wall = before.wall  # of earlier processes of this run
        self._began = time.perf_counter()
        self._since: float | None = None  # the time of the last reading during the steps
        self._lr = 0.0
        self._epoch = (0, 0.0)

    @property
    def state_key(self) -> str:
        return SpeedState.KEY

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds if self.seconds else 0.0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._mark()

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._mark()

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        group = trainer.optimizers[0].param_groups[0]  # after the step its rate is that of the next step
        self._lr = float(group["lr"]) / group.get("lr_scale", 1.0)  # without the factor of its layer

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.images += len(batch[0]) * trainer.world_size
        step = trainer.global_step
        logs = step % self._every == 0 and (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if logs or batch_idx + 1 >= trainer.num_training_batches:
            if pl_module.device.type == "cuda":
                torch.cuda.synchronize()  # wait for the device, which may be behind
            self._read_clock()
        if logs:
            self._log(trainer, float(outputs["loss"]) * trainer.accumulate_grad_batches)

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._since = None

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._since = None

    def resume_clock(self) -> None:
        """Leave out the time since the last reading, in which a checkpoint was saved."""
        self._since = time.perf_counter()

    def epoch_rate(self) -> float:
        """Return the images per second since the epoch's start."""
        images, seconds = self.images - self._epoch[0], self.seconds - self._epoch[1]
        return images / seconds if seconds else 0.0

    def state_dict(self) -> dict[str, Any]:
        self._read_clock()
        wall = self.wall + time.perf_counter() - self._began
        return SpeedState(images=self.images, seconds=self.seconds, wall=wall).to_plain()

    def _read_clock(self) -> None:
        if self._since is not None:
            now = time.perf_counter()
            self.seconds += now - self._since
            self._since = now

    def _mark(self) -> None:
        self._since = time.perf_counter()
        self._epoch = (self.images, self.seconds)

    def _log(self, trainer: lightning.Trainer, loss: float) -> None:
        values = {
            "train/step_loss": loss,
            "lr": self._lr,
            "images_per_second": self.epoch_rate(),
            "epoch": float(trainer.current_epoch + 1),
        }
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step)


class EpochLines(Callback):
    """Print one line per epoch, for pipes and log files."""

    def __init__(self, speed: Speed) -> None:
        self._speed = speed

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        metrics = trainer.callback_metrics
        parts = [f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}", f"step {trainer.global_step}"]
        if "val/top1" in metrics:
            parts.append(f"val top1 {float(metrics['val/top1']):.4f} loss {float(metrics['val/loss']):.4f}")
        parts.append(f"{self._speed.epoch_rate():.0f} images/s")
        log.info("%s", "  ".join(parts))


class Bar(RichProgressBar):
    """Lightning's bar on stderr, with epochs counted from 1 as everywhere else."""

    def __init__(self) -> None:
        super().__init__(console_kwargs={"stderr": True})

    def _get_train_description(self, current_epoch: int) -> str:
        return f"Epoch {current_epoch + 1}/{self.trainer.max_epochs}"


def shows_bar(kind: str, *, terminal: bool) -> bool:
    """Return True if `trainer.progress` asks for a moving bar here.

    Args:
        kind: auto, rich, plain or none.
        terminal: True if stderr is a terminal.
    """
    return kind == "rich" or (kind == "auto" and terminal)


def callbacks(kind: str, speed: Speed, *, terminal: bool) -> list[Callback]:
    """Return the callbacks that show progress."""
    if kind == "none":
        return []
    bar = [Bar()] if shows_bar(kind, terminal=terminal) else []
    return [*bar, EpochLines(speed)]
