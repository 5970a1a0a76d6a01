"""Define optimizer=adafactor."""

from typing import TYPE_CHECKING

from imgrec.config.fields import setting
from imgrec.config.optimizer import Optimizer
from imgrec.config.registry import register

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer as TorchOptimizer


@register("optimizer", "adafactor")
class Adafactor(Optimizer):
    """Adafactor (Shazeer & Stern 2018), whose squares of a matrix' gradients are a row and a column."""

    lr: float = setting(0.01, "peak relative step, also at most 1 / step^0.5 (Shazeer & Stern 2018, algorithm 4)")
    beta2_decay: float = setting(
        -0.8, "the squares' decay is 1 - step^beta2_decay (Shazeer & Stern 2018, section 7.2)", below=0, at_least=-1
    )
    least_scale: float = setting(
        1e-3, "least root mean square of a weight, which its steps are relative to (Shazeer & Stern 2018)", above=0
    )
    clip_threshold: float = setting(
        1.0, "largest root mean square of an update (Shazeer & Stern 2018, section 6)", at_least=1
    )

    def build(self, module: "nn.Module") -> "TorchOptimizer":
        """See `torch.optim.Adafactor`."""
        import torch

        from imgrec.optim.parameters import groups

        return torch.optim.Adafactor(
            groups(module, decay_norm_and_bias=self.decay_norm_and_bias, weight_decay=self.weight_decay),
            lr=self.peak,
            beta2_decay=self.beta2_decay,
            eps=(None, self.least_scale),
            d=self.clip_threshold,
        )
