"""Define optimizer=momentum."""

from typing import TYPE_CHECKING

from imgrec.config.fields import above, setting
from imgrec.config.optimizer import Optimizer
from imgrec.config.registry import register

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer as TorchOptimizer


@register("optimizer", "momentum")
class Momentum(Optimizer):
    """SGD with momentum, as He et al. (2016, section 4.2) trained CIFAR-10."""

    lr: float = setting(0.1, "peak learning rate (He et al. 2016, section 4.2)")
    momentum: float = setting(0.9, "weight of the past gradients (He et al. 2016, section 4.2)", at_least=0, below=1)
    nesterov: bool = setting(False, "look ahead along the momentum (Sutskever et al. 2013)")
    weight_decay: float = setting(1e-4, "L2 penalty (He et al. 2016, section 4.2)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov:
            above("optimizer.momentum", self.momentum, 0, "or set optimizer.nesterov=false")

    def build(self, module: "nn.Module") -> "TorchOptimizer":
        """See `torch.optim.SGD`."""
        import torch

        from imgrec.optim.fused import fused
        from imgrec.optim.parameters import groups

        parameters = groups(module, decay_norm_and_bias=self.decay_norm_and_bias, weight_decay=self.weight_decay)
        return torch.optim.SGD(
            parameters, lr=self.peak, momentum=self.momentum, nesterov=self.nesterov, fused=fused(parameters)
        )
