"""The easiest training images are left out, after an epoch that showed which they are (data.prune)."""

import logging
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from imgrec.classifier import Classifier
from imgrec.data.pruning import all_but_easiest
from imgrec.datamodule import ImageData
from imgrec.processes import gathered

log = logging.getLogger(__name__)


class Pruning(Callback):
    """Notes every training image's loss, as it is shown, in one whole epoch, and has the easiest left out from then on.

    share: of the images, in (0, 1). after: epochs that visit all of them; a run that has had more when it is resumed
    with `data.prune` takes the next whole one.
    """

    def __init__(self, data: ImageData, *, share: float, after: int) -> None:
        self._data = data
        self._share = share
        self._after = after
        self._losses_n: Tensor | None = None  # of the epoch at hand, NaN where this process has not met the image

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self._losses_n is not None:  # resumed, in the middle of that epoch
            same = len(self._losses_n) == len(self._data.source.train)
            self._losses_n = self._losses_n.to(pl_module.device) if same else None

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begin with a whole epoch; Lightning calls `on_train_epoch_start` not for every one after a resume."""
        if batch_idx == 0 and trainer.current_epoch + 1 >= self._after and not self._data.pruned:
            self._losses_n = torch.full((len(self._data.source.train),), torch.nan, device=pl_module.device)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._losses_n is None:
            return
        assert isinstance(pl_module, Classifier)
        _, targets = batch
        places_b = torch.tensor(self._data.indices(trainer.current_epoch, batch_idx), device=self._losses_n.device)
        self._losses_n[places_b] = pl_module.loss(outputs["logits"], targets, reduction="none").float()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        losses_n = self._merged()
        if losses_n is None:
            return
        self._losses_n = None
        kept_n = all_but_easiest(losses_n, self._share)
        self._data.keep(kept_n, since=trainer.current_epoch + 1)
        if (left_out := int((~kept_n).sum())) and trainer.is_global_zero:
            log.info(
                "from epoch %d on without the easiest %d of %d training images, whose loss is at most %.3f",
                trainer.current_epoch + 2,
                left_out,
                len(kept_n),
                losses_n[~kept_n].max(),
            )

    def state_dict(self) -> dict[str, Tensor | None]:
        return {"losses": self._merged()}

    def load_state_dict(self, state_dict: dict[str, Tensor | None]) -> None:
        self._losses_n = state_dict["losses"]

    def _merged(self) -> Tensor | None:
        """What all processes have noted, on the CPU; all must ask at the same moment."""
        if self._losses_n is None:
            return None
        by_process: list[Tensor] = gathered(self._losses_n.cpu())
        merged_n = by_process[0]
        for other_n in by_process[1:]:
            merged_n = torch.where(merged_n.isnan(), other_n, merged_n)
        return merged_n
