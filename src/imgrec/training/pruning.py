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
from imgrec.distributed import gathered

log = logging.getLogger(__name__)


class Pruning(Callback):
    """Notes every training image's loss, as it is shown, in one whole epoch, and has the easiest left out from then on.

    share: of the images, in (0, 1). after: epochs that visit all of them; a resumed run that has had more takes its
    next whole one. seed: draws among equal losses.
    """

    def __init__(self, data: ImageData, *, share: float, after: int, seed: int) -> None:
        self._data = data
        self._share = share
        self._after = after
        self._seed = seed
        self._losses_n: Tensor | None = None  # of the epoch at hand, NaN where this process has not met the image
        self._new: list[tuple[int, int, Tensor]] = []  # epoch, batch number, losses: they wait on their device

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """After a resume in the middle of that epoch, forget it where it is too early now, or of other images."""
        if self._losses_n is not None and (
            trainer.current_epoch + 1 < self._after or len(self._losses_n) != len(self._data.source.train)
        ):
            self._losses_n = None

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begin with a whole epoch; Lightning calls `on_train_epoch_start` not for every one after a resume."""
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
        # a loss that is not a number is no small one; it is none at all that NaN stands for
        self._new.append((trainer.current_epoch, batch_idx, torch.where(losses_b.isnan(), torch.inf, losses_b)))

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        losses_n, self._losses_n = self._merged(), None
        if losses_n is None or losses_n.isnan().any():  # resumed in batches of another size: the next epoch is whole
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
        """What all processes have noted; all must ask at the same moment."""
        if self._losses_n is None:
            return None
        for epoch, batch, losses_b in self._new:
            self._losses_n[self._data.indices(epoch, batch)] = losses_b.cpu()
        self._new.clear()
        merged_n = torch.full_like(self._losses_n, torch.nan)
        for its_n in gathered(self._losses_n):  # by rank: an image that several have met counts alike for all of them
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
