"""Define optimizer=rmsprop."""

from typing import TYPE_CHECKING, ClassVar

from imgrec.config.fields import setting
from imgrec.config.optimizer import Optimizer
from imgrec.config.registry import register

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer as TorchOptimizer


@register("optimizer", "rmsprop")
class RmsProp(Optimizer):
    """RMSprop (Hinton 2012, Coursera lecture 6e, which names no rate) at Keras' default rate."""

    # without momentum the state has no past updates, and PyTorch adds none later
    begins_with: ClassVar[tuple[str, ...]] = ("momentum",)

    lr: float = setting(1e-3, "peak learning rate; Keras' default (PyTorch's is 0.01)")
    alpha: float = setting(0.9, "decay of the gradient's square (Hinton 2012, lecture 6e)", at_least=0, below=1)
    momentum: float = setting(0.0, "weight of the past updates", at_least=0, below=1)
    eps: float = setting(1e-8, "keeps the division finite; PyTorch's default", above=0)

    def build(self, module: "nn.Module") -> "TorchOptimizer":
        """See `torch.optim.RMSprop`, which has no fused kernel."""
        import torch

        from imgrec.optim.parameters import groups

        parameters = groups(module, decay_norm_and_bias=self.decay_norm_and_bias, weight_decay=self.weight_decay)
        return torch.optim.RMSprop(parameters, lr=self.peak, alpha=self.alpha, momentum=self.momentum, eps=self.eps)
