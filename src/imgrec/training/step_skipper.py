"""Skip steps whose loss or gradient is not finite, at most as many as trainer.nonfinite_skips allows."""

import logging
import math

import lightning
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer

from imgrec.classifier import Classifier
from imgrec.distributed import anywhere
from imgrec.stored.resume_state import SkipperState
from imgrec.training.nan_guard import LossPlace, Refusals, all_finite

log = logging.getLogger(__name__)


class StepSkipper(Callback):
    """Check each step before it is done, and skip bad ones: no weight, statistic or score changes.

    Args:
        limit: The number of steps that may be skipped in the whole run. With 0 none is checked, and the count stays.
        refusals: Creates the error that ends the run after that.
        resumed: The number of steps that earlier processes of this run skipped.
    """

    def __init__(self, *, limit: int, refusals: Refusals, resumed: SkipperState | None = None) -> None:
        self._limit = limit
        self._refusals = refusals
        self._skipped = resumed.skipped if resumed else 0
        self._bad_batch = False  # the current batch
        self._leave_out = False  # the whole step
        self._buffers: list[tuple[Tensor, Tensor]] = []  # each buffer with its value before the step

    @property
    def state_key(self) -> str:
        return SkipperState.KEY

    def state_dict(self) -> dict[str, int]:
        return SkipperState(skipped=self._skipped).to_plain()

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: object, batch_idx: int
    ) -> None:
        if self._limit:
            assert isinstance(pl_module, Classifier)
            self._buffers = [(buffer, buffer.clone()) for buffer in pl_module.network.buffers()]

    def on_before_backward(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, loss: Tensor
    ) -> None:
        if not self._limit:
            return
        bad = not math.isfinite(loss.item())
        if not anywhere(bad, trainer):
            return
        if self._skipped >= self._limit:
            raise (
                self._refusals.of_loss(loss.detach(), LossPlace.now(trainer))
                if bad
                else self._refusals.of_another_process()
            )
        assert isinstance(pl_module, Classifier)
        pl_module.train_scores.forget_last()
        self._bad_batch = True
        self._count_one(f"step {trainer.global_step + 1}: the loss", trainer)
        self._leave_out = True

    def on_after_backward(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self._bad_batch:
            self._bad_batch = False
            self._restore_buffers()

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, optimizer: Optimizer
    ) -> None:
        if not self._limit:
            return
        # the scaler of 16-mixed handles gradients that are not finite
        if not self._leave_out and trainer.precision != "16-mixed" and not _finite_gradients(pl_module):
            self._count_one(f"step {trainer.global_step + 1}: a gradient", trainer)
            self._leave_out = True
            self._restore_buffers()
        if self._leave_out:
            optimizer.zero_grad(set_to_none=True)  # without gradients the optimizer changes no weight
            self._leave_out = False

    def _restore_buffers(self) -> None:
        """Restore the running statistics of batch-norm, which the forward pass has changed."""
        for buffer, before in self._buffers:
            buffer.copy_(before)

    def _count_one(self, what: str, trainer: lightning.Trainer) -> None:
        if self._skipped >= self._limit:
            raise self._refusals.of(f"{what} must be finite, and is not")
        self._skipped += 1
        if trainer.is_global_zero:
            log.warning("%s is not finite: left out, %d of %d", what, self._skipped, self._limit)


def _finite_gradients(module: lightning.LightningModule) -> bool:
    return all_finite(weight.grad for weight in module.parameters() if weight.grad is not None)
