"""Define optimizer=sgd."""

from typing import TYPE_CHECKING

from imgrec.config.fields import setting
from imgrec.config.optimizer import Optimizer
from imgrec.config.registry import register

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer as TorchOptimizer


@register("optimizer", "sgd")
class Sgd(Optimizer):
    """Stochastic gradient descent without momentum."""

    lr: float = setting(0.01, "learning rate; 0.01 is the documented default of Keras' SGD")

    def build(self, module: "nn.Module") -> "TorchOptimizer":
        """See `torch.optim.SGD`. A fused kernel is no faster here, as there is no state to update."""
        import torch

        from imgrec.optim.parameters import groups

        parameters = groups(module, decay_norm_and_bias=self.decay_norm_and_bias, weight_decay=self.weight_decay)
        return torch.optim.SGD(parameters, lr=self.peak)
