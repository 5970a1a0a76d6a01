"""Compute the moving average of a network's weights on the network's device."""

# N images, C channels, H rows, W columns

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, cast

import lightning
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel

from imgrec.checkpoint import with_versions
from imgrec.distributed import averaged
from imgrec.models.network import Network

ReadBatch = Callable[[int, int], Tensor]
"""Returns the images (N, C, H, W) in [0, 1] of the batch of that number in the epoch of that index, of this process."""


class Averager(WeightAveraging):
    """Lightning's callback, which keeps the versions of layers in checkpoints. Some layers are not loaded without."""

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add both states, that of the average and that of the weights that train."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        checkpoint["state_dict"] = with_versions(checkpoint["state_dict"], of=pl_module)


class Versioned(AveragedModel):
    """An average that is loaded from a state without the versions of its layers, as Lightning gives it."""

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load the state, with the versions that the layers have here."""
        return super().load_state_dict(with_versions(state_dict, of=self), strict=strict, assign=assign)


class Averaging(Averager):
    """After each step: average = decay * average + (1 - decay) * weights, and buffers likewise.

    Validation and the end of the training use the averaged weights; checkpoints contain both. Lightning's own
    EMAWeightAveraging creates its average before the network is on its device, and reads a counter at each step: on a
    GPU every step would wait until all weights are copied to the CPU.

    Averaged batch-norm statistics are those of other weights than the averaged ones. With `recount` they are computed
    anew at the end of each epoch, from the epoch's first batches (Izmailov et al. 2018, section 3.2).

    Args:
        decay: In (0, 1).
        recount: Reads the images of a batch to compute the statistics anew; None to average them.
        batches: The number of batches to compute them from, of each process. An epoch may have fewer.
    """

    def __init__(self, *, decay: float, recount: ReadBatch | None = None, batches: int = 1) -> None:
        super().__init__()
        self._decay = decay
        self._recount, self._batches = recount, batches

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Create the average as a copy of the module, on the device of the training."""
        if stage == "fit":
            self._average_model = Average(pl_module, device=trainer.strategy.root_device, decay=self._decay)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the average, and its batch-norm statistics at the last batch of an epoch: validation comes next."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self._recount is None or batch_idx + 1 < trainer.num_training_batches:
            return
        assert self._average_model is not None, "made in setup"
        read, epoch, network = self._recount, trainer.current_epoch, cast(nn.Module, self._average_model.module.network)
        with trainer.precision_plugin.forward_context():
            images = (read(epoch, number) for number in range(min(self._batches, batch_idx + 1)))
            count_statistics(network, images, but=cast(Network, pl_module.network).evaluated)


class Average(Versioned):
    """A module's moving average. `update_parameters` waits for the device only once, at its first call."""

    def __init__(self, model: nn.Module, *, device: torch.device, decay: float) -> None:
        super().__init__(model, device=cast(Any, device), use_buffers=True)
        self._decay = decay
        self._begun = False

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Add the weights of `model`, which is on the same device. The first weights are copied."""
        mine, its = _tensors(self.module), _tensors(model)
        self._begun = self._begun or bool(self.n_averaged > 0)
        if not self._begun:
            torch._foreach_copy_(mine, its)
            self._begun = True
        elif mine:
            floats = [number for number, tensor in enumerate(mine) if tensor.is_floating_point()]
            counts = [number for number, tensor in enumerate(mine) if not tensor.is_floating_point()]
            # in the order of PyTorch's swa_utils.get_ema_avg_fn, for equal bits
            kept = torch._foreach_mul([mine[number] for number in floats], self._decay)
            torch._foreach_add_(kept, torch._foreach_mul([its[number] for number in floats], 1 - self._decay))
            torch._foreach_copy_([mine[number] for number in floats], kept)
            self._average_counts([mine[number] for number in counts], [its[number] for number in counts])
        self.n_averaged += 1

    def _average_counts(self, mine: list[Tensor], its: list[Tensor]) -> None:
        """Average tensors of whole numbers as one tensor, as PyTorch would take a kernel for each."""
        if not mine:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in mine]) * self._decay
        flat += torch.cat([tensor.reshape(-1) for tensor in its]) * (1 - self._decay)
        parts = torch.split(flat.to(mine[0].dtype), [tensor.numel() for tensor in mine])
        torch._foreach_copy_(mine, [part.reshape(tensor.shape) for part, tensor in zip(parts, mine, strict=True)])


@torch.no_grad()
def count_statistics(network: nn.Module, batches: Iterator[Tensor], *, but: Collection[str] = ()) -> None:
    """Compute a network's batch-norm statistics anew: the means over these batches, and over all processes.

    Other layers work as in evaluation, so that no random numbers are drawn.

    Args:
        network: The network. Its mode stays as it is.
        batches: Images (N, C, H, W) on any device; at least one batch.
        but: The names of layers that keep their statistics.
    """
    layers = [
        each
        for name, each in network.named_modules()
        if isinstance(each, _BatchNorm) and each.track_running_stats and name not in but
    ]
    if not layers:
        return
    training, momenta = [each.training for each in network.modules()], [layer.momentum for layer in layers]
    counts = [layer.num_batches_tracked.clone() for layer in layers if layer.num_batches_tracked is not None]
    where, layout = next(network.parameters()), _layout(network)
    try:
        network.eval()
        for layer in layers:
            layer.training = True  # not what lies in it, such as stochastic depth
            layer.reset_running_stats()
            layer.momentum = None  # the mean of all batches, each with the same weight
        for images_nchw in batches:
            network(images_nchw.to(where.device).contiguous(memory_format=layout))
        for statistic in [each for layer in layers for each in (layer.running_mean, layer.running_var)]:
            assert statistic is not None, "tracked"
            statistic.copy_(averaged(statistic))
    finally:
        for each, mode in zip(network.modules(), training, strict=True):
            each.training = mode
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for layer, count in zip(layers, counts, strict=True):
            cast(Tensor, layer.num_batches_tracked).copy_(count)


def _layout(network: nn.Module) -> torch.memory_format:
    """Return the memory format of a network's filters, in which its images should be too."""
    filters = [each for each in network.parameters() if each.ndim == 4]
    last = bool(filters) and all(each.is_contiguous(memory_format=torch.channels_last) for each in filters)
    return torch.channels_last if last else torch.contiguous_format


def _tensors(module: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in (*module.parameters(), *module.buffers())]
