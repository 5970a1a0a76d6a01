"""Define the base class of the loss axis."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from imgrec.config.component import Component
from imgrec.config.fields import above, setting
from imgrec.errors import UsageError

if TYPE_CHECKING:
    from imgrec.losses import DistilledLoss, LossFunction


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

    @property
    def teacher_run(self) -> tuple[str, str] | None:
        """The run whose network teaches, with the first digits of its weights' digest; None for no teacher."""
        return None

    def build_distilled(self) -> "DistilledLoss":
        """Return the training loss of logits, the teacher's logits and targets. A loss with a teacher defines it."""
        raise UsageError(f"loss={self.name} must define build_distilled(), as it names a teacher, and does not")

    @abstractmethod
    def build(self) -> "LossFunction":
        """Return the function of logits (N, K) and targets."""
