"""Keep layers frozen for the first epochs, and let them train afterwards (model.unfreeze_at)."""

import logging
from collections.abc import Collection
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from imgrec.classifier import Classifier
from imgrec.models.network import Network

log = logging.getLogger(__name__)


class Freezing(Callback):
    """Freeze tensors of the network until an epoch begins.

    It has no state: the epoch alone decides, so that a resumed run does as the undisturbed one. The optimizer has all
    parameters from the first step on, and leaves those without a gradient alone, their weight decay included.

    Args:
        tensors: The names of the network's tensors.
        epochs: The number of epochs with frozen tensors.
    """

    def __init__(self, tensors: Collection[str], *, epochs: int) -> None:
        self._tensors = tensors
        self._epochs = epochs
        self._is_frozen = False

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Freeze or unfreeze before a batch. After a resume, Lightning does not begin every epoch with its hook."""
        freezes = trainer.current_epoch < self._epochs
        if freezes == self._is_frozen:
            return
        assert isinstance(pl_module, Classifier)
        assert isinstance(pl_module.network, Network)
        if freezes:
            pl_module.network.freeze(self._tensors)
        else:
            pl_module.network.thaw()
            if trainer.is_global_zero:
                log.info("epoch %d: all layers train from here on", trainer.current_epoch + 1)
        self._is_frozen = freezes
