"""Define optimizer=muon."""

from typing import TYPE_CHECKING

from imgrec.components.optimizer.orthogonalised import Orthogonalised
from imgrec.config.fields import setting
from imgrec.config.registry import register
from imgrec.errors import UsageError

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer as TorchOptimizer


@register("optimizer", "muon")
class Muon(Orthogonalised):
    """Muon (Jordan et al. 2024) for hidden matrices and filters; AdamW for biases, norms and the last layer."""

    lr: float = setting(0.02, "peak learning rate of the orthogonalised updates (Jordan et al. 2024)")
    constant_norm: bool = setting(
        False, "hold each hidden weight's Frobenius norm at rows^0.5: lr alone says how far a step turns it; no decay"
    )
    adamw_lr: float = setting(
        3e-4, "peak learning rate of the parameters that AdamW updates (Jordan et al. 2024)", above=0
    )
    adamw_beta1: float = setting(0.9, "AdamW's decay of the gradient's mean (Jordan et al. 2024)", at_least=0, below=1)
    adamw_beta2: float = setting(
        0.95, "AdamW's decay of the gradient's square (Jordan et al. 2024)", at_least=0, below=1
    )
    adamw_eps: float = setting(1e-10, "keeps AdamW's division finite (Jordan et al. 2024)", above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.constant_norm and self.weight_decay:
            raise UsageError(
                f"optimizer.weight_decay must be 0 with optimizer.constant_norm=true, which undoes it,"
                f" got {self.weight_decay}; drop one of the two"
            )

    def build(self, module: "nn.Module") -> "TorchOptimizer":
        """See `optim.muon.Muon`."""
        from imgrec.optim.muon import Muon
        from imgrec.optim.parameters import muon_groups

        hidden_and_rest = muon_groups(
            module,
            adamw_lr=self.adamw_lr * self.lr_scale,
            decay_norm_and_bias=self.decay_norm_and_bias,
            weight_decay=self.weight_decay,
        )
        return Muon(
            hidden_and_rest,
            lr=self.peak,
            momentum=self.momentum,
            ns_steps=self.ns_steps,
            constant_norm=self.constant_norm,
            betas=(self.adamw_beta1, self.adamw_beta2),
            eps=self.adamw_eps,
        )
