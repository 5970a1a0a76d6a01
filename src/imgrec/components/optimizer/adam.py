"""Define optimizer=adam."""

from typing import TYPE_CHECKING

from imgrec.config.fields import setting
from imgrec.config.optimizer import Optimizer
from imgrec.config.registry import register

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer as TorchOptimizer


@register("optimizer", "adam")
class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, algorithm 1)."""

    lr: float = setting(1e-3, "peak learning rate (Kingma & Ba 2015, algorithm 1)")
    beta1: float = setting(0.9, "decay of the gradient's mean", at_least=0, below=1)
    beta2: float = setting(0.999, "decay of the gradient's square", at_least=0, below=1)
    eps: float = setting(1e-8, "keeps the division finite", above=0)

    def build(self, module: "nn.Module") -> "TorchOptimizer":
        """See `torch.optim.Adam`."""
        import torch

        from imgrec.optim.fused import fused
        from imgrec.optim.parameters import groups

        parameters = groups(module, decay_norm_and_bias=self.decay_norm_and_bias, weight_decay=self.weight_decay)
        betas = (self.beta1, self.beta2)
        return torch.optim.Adam(parameters, lr=self.peak, betas=betas, eps=self.eps, fused=fused(parameters))
