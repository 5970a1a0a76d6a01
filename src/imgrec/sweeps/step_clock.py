"""Time the parts of a short training: steps, validation batches, and what an epoch costs besides."""

import statistics
import time
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from imgrec.config.root import Config


class StepClock(Callback):
    """Note when steps, validation batches and epochs begin and end."""

    def __init__(self, block: int) -> None:
        self._block = block
        self._since = self._val_since = self._ended = 0.0
        self._in_block = self._val_batch = 0
        self._validated = 0.0
        self._gaps: list[float] = []
        self._blocks: list[tuple[int, float]] = []
        self._thread_since, self._computed = 0.0, list[float]()
        self._waits_for_device = False
        self._val_batches: list[float] = []
        self.flops_per_image = 0.0
        self.val_images = 0

    @property
    def steps(self) -> int:
        return sum(count for count, _ in self._blocks)

    def step(self, config: Config) -> tuple[float, float, float]:
        """Return the quartiles of a step's seconds. Where images grow, the median is the mean over all sizes."""
        blocks = self._blocks[1:] if len(self._blocks) > 2 else self._blocks  # the first one warms up
        means = sorted(seconds / count for count, seconds in blocks)
        if len(means) < 2:
            return means[0], means[0], means[0]
        low, usual, high = statistics.quantiles(means, n=4, method="inclusive")
        if config.augment.sizes:
            usual = sum(seconds for _, seconds in self._blocks) / self.steps
            low, high = usual, usual
        return low, usual, high

    @property
    def busy(self) -> float:
        """The share of the steps' time in which this thread computed; 1 where a device computes."""
        share = sum(self._computed) / sum(seconds for _, seconds in self._blocks)
        return 1.0 if self._waits_for_device else min(1.0, share)

    @property
    def val_batch(self) -> float:
        """The median seconds of a validation batch; 0 without validation."""
        return statistics.median(self._val_batches) if self._val_batches else 0.0

    @property
    def val_seconds(self) -> float:
        return self.val_batch * len(self._val_batches)

    @property
    def epoch(self) -> float:
        """The mean seconds of an epoch besides steps and validation batches."""
        return statistics.fmean(self._gaps)

    def on_train_batch_start(self, trainer: lightning.Trainer, *rest: Any) -> None:
        if self._ended:
            self._close_epoch()
        if not self._since:
            self._since, self._thread_since = time.perf_counter(), time.thread_time()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._in_block += 1
        last = batch_idx + 1 >= trainer.num_training_batches
        if self._in_block < self._block and not last:
            return
        now = _now(pl_module)
        self._blocks.append((self._in_block, now - self._since))
        computed = time.thread_time()
        self._computed.append(computed - self._thread_since)
        self._waits_for_device = pl_module.device.type != "cpu"
        self._since, self._thread_since, self._in_block = (0.0 if last else now), computed, 0
        self._ended = now if last else 0.0

    def on_validation_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *rest: Any
    ) -> None:
        self._val_since = self._val_since or _now(pl_module)

    def on_validation_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, *rest: Any
    ) -> None:
        now = _now(pl_module)
        self._val_batches.append(now - self._val_since)
        self.val_images += len(batch[0])
        self._validated += now - self._val_since
        self._val_since = now

    def on_validation_end(self, *rest: Any) -> None:
        self._val_since = 0.0

    def on_train_end(self, *rest: Any) -> None:
        self._close_epoch()

    def _close_epoch(self) -> None:
        self._gaps.append(time.perf_counter() - self._ended - self._validated)
        self._ended = self._validated = 0.0


def _now(module: lightning.LightningModule) -> float:
    if module.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
