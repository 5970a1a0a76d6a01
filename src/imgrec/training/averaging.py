"""Compute the moving average of a network's weights on the network's device."""

from typing import Any, cast

import lightning
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class Averaging(WeightAveraging):
    """After each step: average = decay * average + (1 - decay) * weights, and buffers likewise.

    Validation and the end of the training use the averaged weights; checkpoints contain both. Lightning's own
    EMAWeightAveraging creates its average before the network is on its device, and reads a counter at each step: on a
    GPU every step would wait until all weights are copied to the CPU.

    Args:
        decay: In (0, 1).
    """

    def __init__(self, *, decay: float) -> None:
        super().__init__()
        self._decay = decay

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Create the average as a copy of the module, on the device of the training."""
        if stage == "fit":
            self._average_model = Average(pl_module, device=trainer.strategy.root_device, decay=self._decay)


class Average(AveragedModel):
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
        if self._begun:
            # in the order of PyTorch's swa_utils.get_ema_avg_fn, for equal bits
            kept = torch._foreach_mul(mine, self._decay)
            torch._foreach_add_(kept, torch._foreach_mul(its, 1 - self._decay))
            torch._foreach_copy_(mine, kept)
        else:
            torch._foreach_copy_(mine, its)
            self._begun = True
        self.n_averaged += 1


def _tensors(module: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in (*module.parameters(), *module.buffers())]
