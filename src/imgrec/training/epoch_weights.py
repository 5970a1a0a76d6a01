"""Score other weights than those that train, computed at the end of each epoch: SWA, and schedule-free optimizers."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, cast

import lightning
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from imgrec.models.network import Network
from imgrec.optim.schedule_free import average_
from imgrec.training.averaging import Averager, ReadBatch, Versioned, count_statistics


class EpochWeights(Averager):
    """Compute the weights to score at the last batch of each epoch, with batch-norm statistics of their own.

    Validation and the end of the training use them; checkpoints contain both. The statistics are computed anew from the
    epoch's first batches.

    Args:
        recount: Reads the images of a batch to compute the statistics.
        batches: The number of batches to compute them from, of each process. An epoch may have fewer.
    """

    def __init__(self, *, recount: ReadBatch, batches: int) -> None:
        super().__init__()
        self._recount, self._batches = recount, batches

    @abstractmethod
    def _compute(self, average: AveragedModel, trainer: lightning.Trainer, module: lightning.LightningModule) -> bool:
        """Compute the weights to score. Returns False if they are those that train, with their statistics."""

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Create the average as a copy of the module, on the device of the training."""
        if stage == "fit":
            self._average_model = Versioned(pl_module, device=cast(Any, trainer.strategy.root_device))

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Compute the weights at the last batch of an epoch: validation comes next."""
        if batch_idx + 1 < trainer.num_training_batches:
            return
        average, epoch = self._average_model, trainer.current_epoch
        assert average is not None, "made in setup"
        if not self._compute(average, trainer, pl_module):
            return
        network = cast(nn.Module, average.module.network)
        with trainer.precision_plugin.forward_context():
            read = (self._recount(epoch, number) for number in range(min(self._batches, batch_idx + 1)))
            count_statistics(network, read, but=cast(Network, pl_module.network).evaluated)


class StochasticWeightAveraging(EpochWeights):
    """Average the weights at the ends of the last epochs, with equal weights (Izmailov et al. 2018, algorithm 1).

    Until it begins, the average is a copy of the weights at the end of the latest epoch. The learning rate is that of
    the schedule.

    Args:
        begins: The first epoch that is averaged, counted from 0.
        recount: As in `EpochWeights`.
        batches: As in `EpochWeights`.
    """

    def __init__(self, *, begins: int, recount: ReadBatch, batches: int) -> None:
        super().__init__(recount=recount, batches=batches)
        self._begins = begins

    def _compute(self, average: AveragedModel, trainer: lightning.Trainer, module: lightning.LightningModule) -> bool:
        if trainer.current_epoch < self._begins:
            _copy(average, module)
            return False
        average.update_parameters(module)
        return bool(average.n_averaged > 1)


class ScheduleFreeAverage(EpochWeights):
    """Score the average of a schedule-free optimizer (Defazio et al. 2024, algorithm 1)."""

    def _compute(self, average: AveragedModel, trainer: lightning.Trainer, module: lightning.LightningModule) -> bool:
        _copy(average, module)
        pairs: Iterator[tuple[Tensor, Tensor]] = zip(module.parameters(), average.module.parameters(), strict=True)
        average_(dict(pairs), trainer.optimizers[0])
        return True


def _copy(average: AveragedModel, module: lightning.LightningModule) -> None:
    """Copy all tensors of the module."""
    average.n_averaged.zero_()
    average.update_parameters(module)  # the first weights are copied
    average.n_averaged.zero_()
