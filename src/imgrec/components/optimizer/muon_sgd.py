"""Define optimizer=muon_sgd."""

from typing import TYPE_CHECKING

from imgrec.components.optimizer.orthogonalised import Orthogonalised
from imgrec.config.fields import setting
from imgrec.config.registry import register

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer as TorchOptimizer


@register("optimizer", "muon_sgd")
class MuonSgd(Orthogonalised):
    """Muon on hidden weights of constant norm; SGD with Nesterov momentum for the rest (airbench94_muon, Jordan 2024).

    The defaults are for batches of 2000 images. SGD's rates are those of a mean loss, and follow the batch.
    """

    lr: float = setting(0.24, "peak learning rate of the orthogonalised updates, of weights of norm rows^0.5")
    momentum: float = setting(0.6, "weight of the past gradients, Nesterov, for the orthogonalised updates")
    ns_steps: int = setting(3, "Newton-Schulz iterations")
    bias_lr: float = setting(
        106.0, "peak rate of biases and normalisation layers; 0.053 an image of the batch", above=0
    )
    head_lr: float = setting(1340.0, "peak rate of the last layer; 0.67 an image of the batch", above=0)
    sgd_momentum: float = setting(
        0.85,
        "weight of the past gradients, Nesterov, for what SGD updates",
        below=1,
        above=0,
        way_out="SGD looks ahead along it",
    )
    weight_decay: float = setting(
        4e-3,
        "share of what SGD updates that a step at the peak rate takes away before momentum, which makes it"
        " 1 / (1 - sgd_momentum) as much",
    )

    def build(self, module: "nn.Module") -> "TorchOptimizer":
        """See `optim.muon.Muon`."""
        from imgrec.optim.muon import Muon
        from imgrec.optim.parameters import muon_sgd_groups

        by_rule = muon_sgd_groups(
            module,
            bias_lr=self.bias_lr * self.lr_scale,
            head_lr=self.head_lr * self.lr_scale,
            momentum=self.sgd_momentum,
            decay=self.weight_decay,
            decay_norm_and_bias=self.decay_norm_and_bias,
        )
        return Muon(by_rule, lr=self.peak, momentum=self.momentum, ns_steps=self.ns_steps, constant_norm=True)
