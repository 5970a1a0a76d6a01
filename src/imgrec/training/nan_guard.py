"""Stop a run at a loss or a weight that is not finite, before anything computed from it is saved."""

import logging
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple, Self

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from imgrec.classifier import Classifier
from imgrec.distributed import anywhere
from imgrec.errors import RunError

log = logging.getLogger(__name__)

_SHOWN = 8  # indices in the error message; the log has all


class LossPlace(NamedTuple):
    """The place of a training loss: step (from 1), epoch and batch (from 0), and the learning rate."""

    step: int
    epoch: int
    batch: int
    rate: float

    @classmethod
    def now(cls, trainer: lightning.Trainer) -> Self:
        """Return the place of the current batch."""
        rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        return cls(trainer.global_step + 1, trainer.current_epoch, trainer.fit_loop.epoch_loop.batch_idx, rate)


class Refusals:
    """Create the errors for numbers that are not finite.

    Args:
        indices: Returns the indices of the training images for an epoch and a batch number.
        last_good: Returns the newest saved checkpoint in words; None for none.
        with_sam: True if steps follow the gradient at moved weights, so that none can be skipped.
    """

    def __init__(
        self,
        *,
        indices: Callable[[int, int], list[int]],
        last_good: Callable[[], str | None],
        with_sam: bool = False,
    ) -> None:
        self._indices = indices
        self._last_good = last_good
        self._with_sam = with_sam

    def of_loss(self, loss: Tensor, place: LossPlace) -> RunError:
        """Return the error for a training loss. The log names all images of its batch."""
        images = self._indices(place.epoch, place.batch)
        log.error("the training images of that batch: %s", images)
        some = ", ".join(map(str, images[:_SHOWN])) + (f", ... {len(images)} in all" if len(images) > _SHOWN else "")
        return self.of(
            f"step {place.step}: the loss must be finite, got {float(loss)} at learning rate {place.rate:g} on batch"
            f" {place.batch} of epoch {place.epoch + 1} (training images {some})"
        )

    def of_another_process(self) -> RunError:
        return self.of("the loss of another process is not finite; its own message names the step")

    def of(self, what: str) -> RunError:
        good = self._last_good()
        other = "a lower optimizer.sam_rho" if self._with_sam else "allow some with trainer.nonfinite_skips"
        begin = "go on from there (resume=RUN and resume_override)" if good else "start again"
        return RunError(
            f"{what}; the last good checkpoint: {good or 'none'}; {begin} with a lower optimizer.lr or"
            f" trainer.gradient_clip=1, or {other}"
        )


class FiniteGuard(Callback):
    """Stop a run whose training loss, validation loss or weights are not finite.

    On the CPU each loss is checked at once. On a GPU, or with several processes, the losses are checked at the next
    logged step or save, so that no step waits for another device. The error still names the exact step.

    Args:
        every: Steps between two checks of the training losses.
        judges_losses: False if a `StepSkipper` checks the training losses.
        refusals: Creates the errors.
    """

    def __init__(self, *, every: int, judges_losses: bool, refusals: Refusals) -> None:
        self._every = every
        self._judges_losses = judges_losses
        self._refusals = refusals
        self._losses: list[Tensor] = []
        self._places: list[LossPlace] = []  # of each loss

    def on_before_backward(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, loss: Tensor
    ) -> None:
        if not self._judges_losses:
            return
        at_once = loss.device.type == "cpu" and trainer.world_size == 1
        if at_once and math.isfinite(loss.item()):
            return
        self._losses.append(loss.detach())
        self._places.append(LossPlace.now(trainer))
        if at_once:
            self._look(trainer)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        whole = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if (whole and trainer.global_step % self._every == 0) or batch_idx + 1 >= trainer.num_training_batches:
            self._look(trainer)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        loss = trainer.callback_metrics.get("val/loss")
        if loss is not None and not bool(torch.isfinite(loss)):
            raise self._refusals.of(
                f"step {trainer.global_step}: the validation loss must be finite, got {float(loss)}"
            )

    def check(self, trainer: lightning.Trainer) -> None:
        """Raise RunError if a loss since the last check, or a weight, is not finite. To be called before a save."""
        self._look(trainer)
        assert isinstance(trainer.lightning_module, Classifier)
        weights = trainer.lightning_module.network.state_dict()
        if not all_finite(weights.values()):
            broken = next(name for name, weight in weights.items() if not all_finite([weight]))
            raise self._refusals.of(f"step {trainer.global_step}: every weight must be finite, {broken} is not")

    def _look(self, trainer: lightning.Trainer) -> None:
        """Stop at the first loss that is not finite, and drop the others."""
        if not self._losses:
            return
        bad = (~torch.isfinite(torch.stack(self._losses))).nonzero().flatten().tolist()
        if anywhere(bool(bad), trainer):
            if not bad:
                raise self._refusals.of_another_process()
            raise self._refusals.of_loss(self._losses[bad[0]], self._places[bad[0]])
        self._losses.clear()
        self._places.clear()


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Return True if all numbers of these tensors are finite, with one read from their device."""
    found = [torch.isfinite(tensor).all() for tensor in tensors]
    return not found or bool(torch.stack(found).all())
