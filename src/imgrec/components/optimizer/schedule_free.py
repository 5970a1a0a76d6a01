"""Define optimizer=schedule_free."""

from typing import TYPE_CHECKING, ClassVar

from imgrec.config.fields import setting
from imgrec.config.optimizer import Optimizer
from imgrec.config.registry import register

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer as TorchOptimizer


@register("optimizer", "schedule_free")
class ScheduleFree(Optimizer):
    """Schedule-free AdamW, whose average is scored (Defazio et al. 2024); needs the extra "schedulefree".

    arXiv 2405.15682, with the default settings of the authors' package.
    """

    kept: ClassVar[tuple[str, ...]] = ("beta1",)
    counters: ClassVar[tuple[str, ...]] = ("k", "weight_sum", "lr_max", "scheduled_lr", "train_mode")
    averages: ClassVar[bool] = True

    lr: float = setting(0.0025, "learning rate after the warmup, which never falls (Defazio et al. 2024: 1e-3 to 0.01)")
    beta1: float = setting(0.9, "share of the average in the weights at which gradients are taken", above=0, below=1)
    beta2: float = setting(0.999, "decay of the second moment", at_least=0, below=1)
    eps: float = setting(1e-8, "added to the denominator", above=0)

    def build(self, module: "nn.Module") -> "TorchOptimizer":
        """See `optim.schedule_free`."""
        from imgrec.optim.parameters import groups
        from imgrec.optim.schedule_free import schedule_free

        parameters = groups(module, decay_norm_and_bias=self.decay_norm_and_bias, weight_decay=self.weight_decay)
        return schedule_free(parameters, lr=self.peak, betas=(self.beta1, self.beta2), eps=self.eps)
