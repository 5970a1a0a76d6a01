"""Define optimizer=adagrad."""

from typing import TYPE_CHECKING

from imgrec.config.fields import setting
from imgrec.config.optimizer import Optimizer
from imgrec.config.registry import register

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer as TorchOptimizer


@register("optimizer", "adagrad")
class Adagrad(Optimizer):
    """Adagrad (Duchi et al. 2011)."""

    lr: float = setting(0.01, "peak learning rate; PyTorch's default")
    eps: float = setting(1e-10, "keeps the division finite; PyTorch's default", above=0)

    def build(self, module: "nn.Module") -> "TorchOptimizer":
        """See `torch.optim.Adagrad`."""
        import torch

        from imgrec.optim.fused import fused
        from imgrec.optim.parameters import groups

        parameters = groups(module, decay_norm_and_bias=self.decay_norm_and_bias, weight_decay=self.weight_decay)
        # in the oldest PyTorch that imgrec supports, only the CPU has a fused kernel for it
        on_cpu = all(parameter.device.type == "cpu" for group in parameters for parameter in group["params"])
        return torch.optim.Adagrad(parameters, lr=self.peak, eps=self.eps, fused=fused(parameters) if on_cpu else None)
