"""Leave out the easiest training images, after an epoch in which their losses were measured (data.prune)."""

import logging
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from imgrec.classifier import Classifier
from imgrec.data.pruning import all_but_easiest
from imgrec.datamodule import ImageData
from imgrec.distributed import gathered

log = logging.getLogger(__name__)


class Pruning(Callback):
    """Note the loss of every training image in one whole epoch, and leave out the easiest images from then on.

    Args:
        share: The share of the images to leave out, in (0, 1).
        after: The number of epochs that visit all images. A resumed run that has done more uses its next whole epoch.
        seed: Decides between equal losses.
    """

    def __init__(self, data: ImageData, *, share: float, after: int, seed: int) -> None:
        self._data = data
        self._share = share
        self._after = after
        self._seed = seed
        self._losses_n: Tensor | None = None  # of this epoch, NaN for an image that this process has not visited
        self._new: list[tuple[int, int, Tensor]] = []  # epoch, batch number, losses, which stay on their device for now

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Drop the losses of a resumed epoch if it is too early now, or was of other images."""
        if self._losses_n is not None and (
            trainer.current_epoch + 1 < self._after or len(self._losses_n) != len(self._data.source.train)
        ):
            self._losses_n = None

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begin with a whole epoch. After a resume, Lightning does not call `on_train_epoch_start` for every epoch."""
        done = trainer.current_epoch + 1
        if batch_idx > 0 or done < self._after or self._data.pruned:
            return
        if done >= (trainer.max_epochs or 0):
            log.warning("data.prune=%g leaves nothing out: it needs a whole epoch before the last", self._share)
            return
        self._losses_n = torch.full((len(self._data.source.train),), torch.nan)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._losses_n is None:
            return
        assert isinstance(pl_module, Classifier)
        _, labels_b = batch
        losses_b = pl_module.loss(outputs["logits"], labels_b, reduction="none").float()
        # a loss of NaN counts as large, since NaN here stands for an image without a loss
        self._new.append((trainer.current_epoch, batch_idx, torch.where(losses_b.isnan(), torch.inf, losses_b)))

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        losses_n, self._losses_n = self._merged(), None
        if losses_n is None or losses_n.isnan().any():  # resumed with another batch size: the next epoch is whole
            return
        kept_n = all_but_easiest(losses_n, self._share, seed=self._seed)
        self._data.keep(kept_n, since=trainer.current_epoch + 1)
        if trainer.is_global_zero and not kept_n.all():
            self._tell(losses_n, kept_n, epoch=trainer.current_epoch + 2)

    def state_dict(self) -> dict[str, Tensor | None]:
        return {"losses": self._merged()}

    def load_state_dict(self, state_dict: dict[str, Tensor | None]) -> None:
        self._losses_n = state_dict["losses"]

    def _merged(self) -> Tensor | None:
        """Return the losses of all processes; None if there are none. All processes must call this at the same time."""
        if self._losses_n is None:
            return None
        for epoch, batch, losses_b in self._new:
            self._losses_n[self._data.indices(epoch, batch)] = losses_b.cpu()
        self._new.clear()
        merged_n = torch.full_like(self._losses_n, torch.nan)
        for its_n in gathered(self._losses_n):  # by rank: all agree on an image that several visited
            merged_n = torch.where(merged_n.isnan(), its_n, merged_n)
        return merged_n

    def _tell(self, losses_n: Tensor, kept_n: Tensor, *, epoch: int) -> None:
        log.info(
            "from epoch %d on without the easiest %d of %d training images, whose loss is at most %.3f",
            epoch,
            int((~kept_n).sum()),
            len(kept_n),
            losses_n[~kept_n].max(),
        )
        labels_n = self._data.source.train.labels
        left = set(labels_n[kept_n].tolist())
        if gone := [name for number, name in enumerate(self._data.source.classes) if number not in left]:
            log.warning("data.prune=%g leaves no image of %s", self._share, ", ".join(gone))
