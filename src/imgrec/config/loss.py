"""Define the base class of the loss axis."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from imgrec.config.component import Component

if TYPE_CHECKING:
    from imgrec.losses import LossFunction


@dataclass(kw_only=True)
class Loss(Component):
    """A loss.

    Attributes:
        gives_probabilities: True if the softmax of a network that was trained with the loss estimates probabilities.
    """

    axis: ClassVar[str] = "loss"
    gives_probabilities: ClassVar[bool] = True

    @abstractmethod
    def build(self) -> "LossFunction":
        """Return the function of logits (N, K) and targets."""
