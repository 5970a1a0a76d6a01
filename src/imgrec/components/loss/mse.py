"""Define loss=mse."""

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from imgrec.config.fields import setting
from imgrec.config.loss import Loss
from imgrec.config.registry import register

if TYPE_CHECKING:
    from imgrec.losses import LossFunction


@register("loss", "mse")
class Mse(Loss):
    """Square loss on the logits against one-hot targets (Hui & Belkin 2020)."""

    gives_probabilities: ClassVar[bool] = False

    true_weight: float = setting(
        1.0, "weight of the true class' term: k of Hui & Belkin 2020; 1 below 42 classes", above=0
    )
    true_value: float = setting(1.0, "value that the true class' logit aims at: M of Hui & Belkin 2020", above=0)

    def build(self) -> "LossFunction":
        """See `losses.mse`."""
        from imgrec import losses

        return partial(losses.mse, true_weight=self.true_weight, true_value=self.true_value)
