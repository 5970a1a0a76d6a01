"""Define the base class of the optimizer axis."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from omegaconf import MISSING

from imgrec.config.component import Component
from imgrec.config.fields import setting

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer as TorchOptimizer


@dataclass(kw_only=True)
class Optimizer(Component):
    """An optimizer.

    Attributes:
        begins_with: Settings that have a state only if they are not 0 from the first step on. A resumed run cannot
            change them from 0 to another value.
        kept: Settings that a resumed run cannot change.
        counters: The keys of values that its steps change in its parameter groups. A resumed run goes on with them.
        averages: True if its average of the weights is scored, and the rate stays constant.
    """

    axis: ClassVar[str] = "optimizer"
    begins_with: ClassVar[tuple[str, ...]] = ()
    kept: ClassVar[tuple[str, ...]] = ()
    counters: ClassVar[tuple[str, ...]] = ()
    averages: ClassVar[bool] = False

    lr: float = setting(MISSING, "peak learning rate", above=0)
    lr_scale: float = setting(1.0, "multiplies lr, so that one grid serves every optimizer", above=0)
    weight_decay: float = setting(0.0, "weight decay; L2 penalty, or decoupled in adamw and muon", at_least=0)
    sam_rho: float = setting(
        0.0,
        "radius of SAM: each step follows the gradient at the weights moved this far uphill, and costs two; 0: off"
        " (Foret et al. 2021: 0.05)",
        at_least=0,
    )
    decay_norm_and_bias: bool = setting(True, "whether weight decay reaches biases and normalisation layers")
    layer_decay: float = setting(
        1.0,
        "each layer's rate is that of the next layer towards the head times this (Bao et al. 2022, BEiT); 1: all alike",
        above=0,
        at_most=1,
    )
    head_scale: float = setting(1.0, "multiplies the rate of the layer that gives the classes", above=0)

    @property
    def peak(self) -> float:
        """The learning rate that the schedule multiplies."""
        return self.lr * self.lr_scale

    @property
    def scales_rates(self) -> bool:
        """True if parameters have rates by their layer."""
        return self.layer_decay != 1 or self.head_scale != 1

    @abstractmethod
    def build(self, module: "nn.Module") -> "TorchOptimizer":
        """Return the optimizer of all trainable parameters of `module`, at the peak rate.

        Call it after the module is on its device.

        Raises:
            ValueError: No parameter is trainable.
        """
