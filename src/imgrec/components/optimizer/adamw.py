"""Define optimizer=adamw."""

from typing import TYPE_CHECKING

from imgrec.components.optimizer.adam import Adam
from imgrec.config.fields import setting
from imgrec.config.registry import register

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer as TorchOptimizer


@register("optimizer", "adamw")
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    weight_decay: float = setting(1e-2, "decoupled weight decay; 0.01 is PyTorch's default")

    def build(self, module: "nn.Module") -> "TorchOptimizer":
        """See `torch.optim.AdamW`."""
        import torch

        from imgrec.optim.fused import fused
        from imgrec.optim.parameters import groups

        parameters = groups(module, decay_norm_and_bias=self.decay_norm_and_bias, weight_decay=self.weight_decay)
        betas = (self.beta1, self.beta2)
        return torch.optim.AdamW(parameters, lr=self.peak, betas=betas, eps=self.eps, fused=fused(parameters))
