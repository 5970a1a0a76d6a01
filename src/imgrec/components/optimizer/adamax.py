"""Define optimizer=adamax."""

from typing import TYPE_CHECKING

from imgrec.components.optimizer.adam import Adam
from imgrec.config.fields import setting
from imgrec.config.registry import register

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer as TorchOptimizer


@register("optimizer", "adamax")
class Adamax(Adam):
    """Adamax, Adam with the infinity norm (Kingma & Ba 2015, algorithm 2)."""

    lr: float = setting(2e-3, "peak learning rate (Kingma & Ba 2015, algorithm 2)")
    beta2: float = setting(0.999, "decay of the largest gradient", at_least=0, below=1)

    def build(self, module: "nn.Module") -> "TorchOptimizer":
        """See `torch.optim.Adamax`, which has no fused kernel."""
        import torch

        from imgrec.optim.parameters import groups

        parameters = groups(module, decay_norm_and_bias=self.decay_norm_and_bias, weight_decay=self.weight_decay)
        return torch.optim.Adamax(parameters, lr=self.peak, betas=(self.beta1, self.beta2), eps=self.eps)
