"""Define optimizer=lamb."""

from typing import TYPE_CHECKING

from imgrec.components.optimizer.adam import Adam
from imgrec.config.fields import setting
from imgrec.config.registry import register

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer as TorchOptimizer


@register("optimizer", "lamb")
class Lamb(Adam):
    """LAMB, AdamW with steps in proportion to each weight's norm (You et al. 2020); needs the extra "timm"."""

    eps: float = setting(1e-6, "keeps the division finite (You et al. 2020, section 4)", above=0)
    weight_decay: float = setting(1e-2, "decoupled weight decay (You et al. 2020, section 4)")
    max_grad_norm: float = setting(
        1.0, "norm to which all gradients together are clipped, timm's default; 0: not clipped", at_least=0
    )

    def build(self, module: "nn.Module") -> "TorchOptimizer":
        """See `timm.optim.Lamb`."""
        from imgrec.optim.from_timm import timm_optimizer
        from imgrec.optim.parameters import groups

        return timm_optimizer(
            "Lamb",
            groups(module, decay_norm_and_bias=self.decay_norm_and_bias, weight_decay=self.weight_decay),
            lr=self.peak,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            max_grad_norm=self.max_grad_norm or None,
        )
