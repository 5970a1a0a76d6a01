"""Define the LightningModule: the training step, the scores per stage, the optimizer and the schedule."""

from collections.abc import Callable
from typing import Any, cast

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from imgrec.checkpoint import snapshot
from imgrec.distributed import gathered, own
from imgrec.errors import UsageError
from imgrec.losses import DistilledLoss, LossFunction, weighted_mean
from imgrec.optim.sam import perturbed
from imgrec.optim.schedules import Schedule
from imgrec.scores import Scores
from imgrec.stored.meta import META, Meta
from imgrec.stored.position import Position, RunPosition
from imgrec.stored.train_scores import TRAIN_SCORES

Batch = tuple[Tensor, Tensor]


class Classifier(lightning.LightningModule):
    """A network with its loss, scores, optimizer and schedule.

    Args:
        network: Maps pixels in [0, 1] (N, C, H, W) to logits (N, K).
        loss: Maps logits and targets to a scalar, or to the loss of each image (N,) with reduction="none".
        num_classes: The number of classes K.
        make_optimizer: Returns the optimizer of the module to train.
        make_schedule: Returns the schedule of an optimizer and a number of steps.
        resize: Returns the images to train on. It takes a batch's images and the share of the training that is done, in
            [0, 1).
        meta: The description of the network that its checkpoints store.
        position: The run's position in the training.
        channels_last: True for the NHWC memory format.
        runs: Runs the network in its own place, with the same results; None for the network itself.
        class_weights_k: The weight of each class in the training loss, float32 (K,); None where all weigh alike. Losses
            of validation and test images are not weighted.
        teaching: A trained network and the training loss that takes its logits; None to train by `loss`.
        sam_rho: The radius of SAM (`optim.sam`); 0 for plain steps.
    """

    def __init__(
        self,
        *,
        network: nn.Module,
        loss: LossFunction,
        num_classes: int,
        make_optimizer: Callable[[nn.Module], Optimizer],
        make_schedule: Callable[[Optimizer, int], Schedule],
        resize: Callable[[Tensor, float], Tensor],
        meta: Meta,
        position: RunPosition | None = None,
        channels_last: bool = False,
        runs: Callable[[Tensor], Tensor] | None = None,
        class_weights_k: Tensor | None = None,
        teaching: tuple[nn.Module, DistilledLoss] | None = None,
        sam_rho: float = 0.0,
    ) -> None:
        super().__init__()
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.network = network.to(memory_format=self.memory_format)
        self.loss = loss
        self.train_scores = Scores(num_classes)
        self.val_scores = Scores(num_classes)
        self.test_scores = Scores(num_classes)
        self.meta = meta
        self._make_optimizer = make_optimizer
        self._make_schedule = make_schedule
        self._resize = resize
        self._steps = 1
        self._schedule: Schedule | None = None
        self._position = position or RunPosition()
        self._runs = runs
        self._teaching = teaching  # in a tuple, so that its weights are not among the module's
        self._sam_rho = sam_rho
        self._latest: tuple[Tensor, Tensor] | None = None  # with SAM, loss and logits of the latest step's own weights
        self._unmoved: tuple[Tensor, Tensor] | None = None  # the same, while SAM has moved the weights
        self.class_weights_k: Tensor | None
        self.register_buffer("class_weights_k", class_weights_k, persistent=False)  # the configuration keeps them

    def forward(self, images_nchw: Tensor) -> Tensor:
        """Return the logits (N, K) of images (N, C, H, W) in [0, 1]."""
        run = self._runs or self.network
        return cast(Tensor, run(images_nchw.contiguous(memory_format=self.memory_format)))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Return the loss, and for callbacks the logits (N, K)."""
        images_nchw, targets = batch
        shown = self._resize(images_nchw, self._progress())
        scores = self.train_scores if self._unmoved is None else None
        loss, logits_nk = self._step((shown, targets), scores, self._training_loss(shown), self.class_weights_k)
        weight = self._loss_weight(batch_idx)
        loss = loss if weight == 1 else loss * weight
        if self._unmoved is None:
            self._latest = (loss.detach(), logits_nk.detach()) if self._sam_rho else None
            return {"loss": loss, "logits": logits_nk.detach()}
        # the gradient of the moved weights, with the values of the step's own
        return {"loss": loss - loss.detach() + self._unmoved[0], "logits": self._unmoved[1]}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._step(batch, self.val_scores, self.loss)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Score a batch, for a trainer of the user's own. A run's final reading measures under protocols."""
        self._step(batch, self.test_scores, self.loss)

    def on_train_epoch_end(self) -> None:
        self._log_epoch("train", self.train_scores)

    def on_validation_epoch_end(self) -> None:
        self._log_epoch("val", self.val_scores)

    def on_test_epoch_end(self) -> None:
        """Log the scores; `Trainer.test` returns what Lightning itself logs."""
        self.log_dict({f"test/{name}": value for name, value in self.test_scores.scalars().items()})
        self.test_scores.reset()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        if self._sam_rho:
            self._check_sam()
        optimizer = self._make_optimizer(self.network)
        self._steps = int(self.trainer.estimated_stepping_batches)
        self._schedule = self._make_schedule(optimizer, self._steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self._schedule, "interval": "step"}}

    def _check_sam(self) -> None:
        """Refuse a trainer of the user's own that adds up or scales the gradient, as `Config` does for a run's."""
        trainer = self.trainer
        for key, plain, value in (
            ("accumulate_grad_batches=1", trainer.accumulate_grad_batches == 1, trainer.accumulate_grad_batches),
            ("precision='32-true' or 'bf16-mixed'", trainer.precision != "16-mixed", repr(trainer.precision)),
        ):
            if not plain:
                raise UsageError(
                    f"optimizer.sam_rho needs a lightning.Trainer with {key}, as it computes two gradients a step, got"
                    f" {value}; give that, or optimizer.sam_rho=0"
                )

    def on_train_start(self) -> None:
        """Set the schedule of a resumed run by the share of the training that is done.

        The number of earlier steps does not give this share, as their batches may have had another size.
        """
        start = self._position.start
        if start != Position() and self._schedule is not None:
            in_an_epoch = self._steps // (self.trainer.max_epochs or 1)
            self._schedule.place(start.epoch * in_an_epoch + start.batch // self.trainer.accumulate_grad_batches)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a run needs to continue in the middle of an epoch: the counts so far, and its own description."""
        checkpoint[TRAIN_SCORES] = gathered(snapshot(self.train_scores.state()))
        checkpoint[META] = self.meta.to_plain()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the counts of an epoch that the run continues in its middle."""
        if self._position.start.batch and (state := own(checkpoint[TRAIN_SCORES], self.trainer)) is not None:
            self.train_scores.load(state)

    def _progress(self) -> float:
        """Return the share of the training that is done, in [0, 1)."""
        return self._schedule.position / self._steps if self._schedule is not None else 0.0

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        """Take a step along the gradient; with SAM, along that of the moved weights."""
        assert optimizer_closure is not None, "Lightning gives one"
        closure = optimizer_closure if not self._sam_rho else lambda: self._twice(optimizer_closure)
        super().optimizer_step(epoch, batch_idx, optimizer, closure)

    def _twice(self, closure: Callable[[], Any]) -> Any:
        """Compute the gradient at the weights, and then that at the weights moved along it."""
        found = closure()
        assert self._latest is not None, "of the training step in the closure"
        self._unmoved = self._latest
        try:
            with perturbed(self.network, self._sam_rho):
                closure()
        finally:
            self._unmoved = None
        return found

    def _training_loss(self, images_nchw: Tensor) -> LossFunction:
        """Return the loss of a training batch, which a teacher's logits of its images may be a part of."""
        if self._teaching is None:
            return self.loss
        teacher, loss = self._teaching
        with torch.no_grad():
            teacher_nk = teacher.to(self.device)(images_nchw.contiguous(memory_format=self.memory_format))

        def distilled(logits_nk: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
            return loss(logits_nk, teacher_nk, target, reduction=reduction)

        return distilled

    def _step(
        self, batch: Batch, scores: Scores | None, compare: LossFunction, weights_k: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        images_nchw, targets = batch
        logits_nk = self(images_nchw)
        if weights_k is None:
            loss = compare(logits_nk, targets)
        else:
            loss = weighted_mean(compare(logits_nk, targets, reduction="none"), targets, weights_k)
        if scores is not None:
            scores.update(logits_nk, targets, loss)
        return loss, logits_nk

    def _loss_weight(self, batch_idx: int) -> float:
        """Return the factor of a batch's loss with which each optimizer step follows the mean gradient of its batches.

        Lightning always divides by `accumulate`, but an epoch's last step may have fewer batches.
        """
        accumulate, batches = self.trainer.accumulate_grad_batches, int(self.trainer.num_training_batches)
        rest = batches % accumulate
        return accumulate / rest if rest and batch_idx >= batches - rest else 1.0

    def _log_epoch(self, stage: str, scores: Scores) -> None:
        values = {f"{stage}/{name}": value for name, value in scores.scalars().items()}
        scores.reset()
        self.log_dict(values, logger=False)  # callbacks monitor these
        # log now: Lightning logs after the epoch's checkpoint, and a crash between them would lose the values
        for logger in self.trainer.loggers:
            logger.log_metrics({**values, "epoch": float(self.current_epoch + 1)}, step=self.global_step)
