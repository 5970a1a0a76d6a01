"""Define the base class of the loss axis."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from imgrec.config.component import Component
from imgrec.config.fields import above, setting
from imgrec.errors import UsageError

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

    class_weights: Any = setting(
        "none",
        "weight of each class' images in the training loss: none, balanced (inverse to the class' number of training"
        " images), or a list with a number for each class",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.class_weights, str):
            if self.class_weights not in ("none", "balanced"):
                raise UsageError(
                    "loss.class_weights must be none, balanced or a list with a number for each class, got"
                    f" {self.class_weights!r}"
                )
            return
        if not isinstance(self.class_weights, Sequence) or not self.class_weights:
            raise UsageError(
                "loss.class_weights must be none, balanced or a list with a number for each class, got"
                f" {self.class_weights!r}"
            )
        for weight in self.class_weights:
            above("loss.class_weights", weight, 0)
        self.class_weights = [float(weight) for weight in self.class_weights]

    @abstractmethod
    def build(self) -> "LossFunction":
        """Return the function of logits (N, K) and targets."""
