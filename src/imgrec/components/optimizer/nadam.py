"""Define optimizer=nadam."""

from typing import TYPE_CHECKING

from imgrec.components.optimizer.adam import Adam
from imgrec.config.fields import setting
from imgrec.config.registry import register

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer as TorchOptimizer


@register("optimizer", "nadam")
class NAdam(Adam):
    """NAdam, Adam with Nesterov momentum (Dozat 2016)."""

    lr: float = setting(2e-3, "peak learning rate; PyTorch's default")
    momentum_decay: float = setting(
        4e-3,
        "how fast beta1 approaches its value: beta1 (1 - 0.96^(t momentum_decay) / 2) at step t (Dozat 2016)",
        at_least=0,
    )

    def build(self, module: "nn.Module") -> "TorchOptimizer":
        """See `torch.optim.NAdam`, which has no fused kernel."""
        import torch

        from imgrec.optim.parameters import groups

        parameters = groups(module, decay_norm_and_bias=self.decay_norm_and_bias, weight_decay=self.weight_decay)
        return torch.optim.NAdam(
            parameters,
            lr=self.peak,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            momentum_decay=self.momentum_decay,
        )
