"""Define optimizer=radam."""

from typing import TYPE_CHECKING

from imgrec.components.optimizer.adam import Adam
from imgrec.config.registry import register

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer as TorchOptimizer


@register("optimizer", "radam")
class RAdam(Adam):
    """RAdam, Adam whose first steps wait for a reliable variance (Liu et al. 2020, algorithm 2)."""

    def build(self, module: "nn.Module") -> "TorchOptimizer":
        """See `torch.optim.RAdam`, which has no fused kernel."""
        import torch

        from imgrec.optim.parameters import groups

        parameters = groups(module, decay_norm_and_bias=self.decay_norm_and_bias, weight_decay=self.weight_decay)
        return torch.optim.RAdam(parameters, lr=self.peak, betas=(self.beta1, self.beta2), eps=self.eps)
