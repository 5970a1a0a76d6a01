"""Average the weights at the ends of epochs: SWA, stochastic weight averaging (Izmailov et al. 2018, algorithm 1)."""

from typing import Any, cast

import lightning
from lightning.pytorch.callbacks import WeightAveraging
from torch import nn
from torch.optim.swa_utils import AveragedModel

from imgrec.models.network import Network
from imgrec.training.averaging import ReadBatch, count_statistics


class StochasticWeightAveraging(WeightAveraging):
    """Average the weights at the ends of the last epochs, each with the same weight.

    Validation and the end of the training use the average; checkpoints contain both. Until it begins, the average is a
    copy of the weights at the end of the latest epoch. Its batch-norm statistics are computed anew from the epoch's
    first batches. The learning rate stays that of the schedule.

    Args:
        begins: The first epoch that is averaged, counted from 0.
        recount: Reads the images of a batch to compute the statistics.
        batches: The number of batches to compute them from, of each process. An epoch may have fewer.
    """

    def __init__(self, *, begins: int, recount: ReadBatch, batches: int) -> None:
        super().__init__()
        self._begins = begins
        self._recount, self._batches = recount, batches

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Create the average as a copy of the module, on the device of the training."""
        if stage == "fit":
            self._average_model = AveragedModel(pl_module, device=cast(Any, trainer.strategy.root_device))

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the average at the last batch of an epoch: validation comes next."""
        if batch_idx + 1 < trainer.num_training_batches:
            return
        average, epoch = self._average_model, trainer.current_epoch
        assert average is not None, "made in setup"
        if epoch < self._begins:
            average.n_averaged.zero_()
            average.update_parameters(pl_module)  # the first weights are copied
            average.n_averaged.zero_()
            return
        average.update_parameters(pl_module)
        if average.n_averaged == 1:
            return
        network = cast(nn.Module, average.module.network)
        with trainer.precision_plugin.forward_context():
            read = (self._recount(epoch, number) for number in range(min(self._batches, batch_idx + 1)))
            count_statistics(network, read, but=cast(Network, pl_module.network).evaluated)
