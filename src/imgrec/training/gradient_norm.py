"""Log the norm of the gradient during the training."""

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch.optim import Optimizer


class LogGradientNorm(Callback):
    """Log the Euclidean norm of the gradient of all parameters, before clipping, as `train/gradient_norm`.

    With 16-mixed precision the norm is that of the unscaled gradient. Gradients that are not finite are logged as they
    are.

    Args:
        every: Optimizer steps between two logged norms.
    """

    def __init__(self, *, every: int) -> None:
        self._every = every

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, optimizer: Optimizer
    ) -> None:
        step = trainer.global_step + 1  # the step that begins now
        if step % self._every:
            return
        gradients = [weight.grad for weight in pl_module.parameters() if weight.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        values = {"train/gradient_norm": float(norm), "epoch": float(trainer.current_epoch + 1)}
        for logger in trainer.loggers:
            logger.log_metrics(values, step=step)
