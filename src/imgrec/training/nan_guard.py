"""A loss that is no finite number stops the run, before anything that came of it is saved; or its step is left out."""

import logging
import math
from collections.abc import Callable

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer

from imgrec.classifier import Classifier
from imgrec.distributed import anywhere
from imgrec.errors import RunError
from imgrec.stored.resume_state import SkipperState

log = logging.getLogger(__name__)

_SHOWN = 8  # indices in the sentence; the log has all


class Finite(Callback):
    """Watches the training loss at every step, and the weights whenever they are saved.

    On a GPU, or with several processes, the losses wait until the next logged step or save, so that no step waits for
    another device: the step is named exactly all the same. With `skips`, each step is judged before it is taken.

    skips: steps that may be left out, gradients that are not finite included. every: steps from one look to the next.
    indices: (epoch, batch number) -> which images. last_good: () -> what is saved, if anything, for the message.
    resumed: what earlier processes of this run left out.
    """

    def __init__(
        self,
        *,
        skips: int,
        every: int,
        indices: Callable[[int, int], list[int]],
        last_good: Callable[[], str | None],
        resumed: SkipperState | None = None,
    ) -> None:
        self._skips = skips
        self._every = every
        self._indices = indices
        self._last_good = last_good
        self._skipped = resumed.skipped if resumed else 0
        self._bad_batch = False  # the one at hand
        self._leave_out = False  # the whole step
        self._buffers: list[tuple[Tensor, Tensor]] = []  # each with its value before the step
        self._losses: list[Tensor] = []
        self._places: list[tuple[int, int, int, float]] = []  # of each loss: step, epoch, batch number, learning rate

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: object, batch_idx: int
    ) -> None:
        if self._skips:
            self._buffers = [(buffer, buffer.clone()) for buffer in _network(pl_module).buffers()]

    def on_before_backward(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, loss: Tensor
    ) -> None:
        at_once = loss.device.type == "cpu" and trainer.world_size == 1
        if at_once and math.isfinite(loss.item()):
            return
        rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        batch = trainer.fit_loop.epoch_loop.batch_idx
        self._losses.append(loss.detach())
        self._places.append((trainer.global_step + 1, trainer.current_epoch, batch, rate))
        if self._skips:
            self._judge(trainer, pl_module)
        elif at_once:
            self._look(trainer)

    def on_after_backward(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self._bad_batch:
            self._bad_batch = False
            self._restore_buffers()

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, optimizer: Optimizer
    ) -> None:
        if not self._skips:
            return
        if not self._leave_out and trainer.precision != "16-mixed" and not _finite_gradients(pl_module):
            self._count_one(f"step {trainer.global_step + 1}: a gradient", trainer)  # 16-mixed has its scaler for that
            self._leave_out = True
            self._restore_buffers()
        if self._leave_out:
            optimizer.zero_grad(set_to_none=True)  # without gradients the optimizer leaves every weight as it is
            self._leave_out = False

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
            raise self._refusal(f"step {trainer.global_step}: the validation loss must be finite, got {float(loss)}")

    def before_save(self, trainer: lightning.Trainer) -> None:
        """Raises RunError when a loss since the last look, or a weight, is not finite."""
        self._look(trainer)
        weights = _network(trainer.lightning_module).state_dict()
        if not _is_finite(list(weights.values())):
            broken = next(name for name, weight in weights.items() if not _is_finite([weight]))
            raise self._refusal(f"step {trainer.global_step}: every weight must be finite, {broken} is not")

    @property
    def state_key(self) -> str:
        return SkipperState.KEY

    def state_dict(self) -> dict[str, int]:
        return SkipperState(skipped=self._skipped).to_plain()

    def _look(self, trainer: lightning.Trainer) -> None:
        """Stop at the first loss that is not finite; forget the others."""
        if not self._losses:
            return
        bad = (~torch.isfinite(torch.stack(self._losses))).nonzero().flatten().tolist()
        if anywhere(bool(bad), trainer):
            raise self._first(bad)
        self._losses.clear()
        self._places.clear()

    def _first(self, bad: list[int]) -> RunError:
        if not bad:
            return self._refusal("the loss of another process is not finite; its own message names the step")
        loss, (step, epoch, batch, rate) = self._losses[bad[0]], self._places[bad[0]]
        images = self._indices(epoch, batch)
        log.error("the training images of that batch: %s", images)
        some = ", ".join(map(str, images[:_SHOWN])) + (f", ... {len(images)} in all" if len(images) > _SHOWN else "")
        return self._refusal(
            f"step {step}: the loss must be finite, got {float(loss)} at learning rate {rate:g} on batch {batch} of"
            f" epoch {epoch + 1} (training images {some})"
        )

    def _judge(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Leave the step out whose loss is not finite, as long as that is allowed."""
        own = not _is_finite(self._losses)
        if anywhere(own, trainer):
            if self._skipped >= self._skips:
                raise self._first([0] if own else [])
            assert isinstance(pl_module, Classifier)
            pl_module.train_scores.forget_last()
            self._bad_batch = True
            self._count_one(f"step {trainer.global_step + 1}: the loss", trainer)
            self._leave_out = True
        self._losses.clear()
        self._places.clear()

    def _restore_buffers(self) -> None:
        """Put batch-norm's running statistics back, which the forward pass has moved already."""
        for buffer, before in self._buffers:
            buffer.copy_(before)

    def _count_one(self, what: str, trainer: lightning.Trainer) -> None:
        if self._skipped >= self._skips:
            raise self._refusal(f"{what} must be finite, and is not")
        self._skipped += 1
        if trainer.is_global_zero:
            log.warning("%s is not finite: left out, %d of %d", what, self._skipped, self._skips)

    def _refusal(self, what: str) -> RunError:
        good = self._last_good()
        begin = "go on from there (resume=RUN and resume_override)" if good else "start again"
        return RunError(
            f"{what}; the last good checkpoint: {good or 'none'}; {begin} with a lower optimizer.lr or"
            " trainer.gradient_clip=1, or allow some with trainer.nonfinite_skips"
        )


def _is_finite(tensors: list[Tensor]) -> bool:
    return not tensors or bool(torch.stack([torch.isfinite(tensor).all() for tensor in tensors]).all())


def _network(module: lightning.LightningModule) -> torch.nn.Module:
    assert isinstance(module, Classifier)
    return module.network


def _finite_gradients(module: torch.nn.Module) -> bool:
    return _is_finite([weight.grad for weight in module.parameters() if weight.grad is not None])
