"""Define optimizer=lion."""

from typing import TYPE_CHECKING

from imgrec.config.fields import setting
from imgrec.config.optimizer import Optimizer
from imgrec.config.registry import register

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer as TorchOptimizer


@register("optimizer", "lion")
class Lion(Optimizer):
    """Lion, steps of the sign of a momentum (Chen et al. 2023, algorithm 2); needs the extra "timm"."""

    lr: float = setting(1e-4, "peak learning rate (Chen et al. 2023: a third to a tenth of AdamW's)")
    beta1: float = setting(0.9, "weight of the momentum in the step", at_least=0, below=1)
    beta2: float = setting(0.99, "decay of the momentum", at_least=0, below=1)
    weight_decay: float = setting(0.0, "decoupled weight decay (Chen et al. 2023: three to ten times AdamW's)")

    def build(self, module: "nn.Module") -> "TorchOptimizer":
        """See `timm.optim.Lion`."""
        from imgrec.optim.from_timm import timm_optimizer
        from imgrec.optim.parameters import groups

        parameters = groups(module, decay_norm_and_bias=self.decay_norm_and_bias, weight_decay=self.weight_decay)
        return timm_optimizer("Lion", parameters, lr=self.peak, betas=(self.beta1, self.beta2))
