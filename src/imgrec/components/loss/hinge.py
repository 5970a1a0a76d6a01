"""Define loss=hinge."""

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from imgrec.config.fields import setting
from imgrec.config.loss import Loss
from imgrec.config.registry import register

if TYPE_CHECKING:
    from imgrec.losses import LossFunction


@register("loss", "hinge")
class Hinge(Loss):
    """Multi-class hinge (Crammer & Singer 2001)."""

    gives_probabilities: ClassVar[bool] = False

    margin: float = setting(1.0, "distance by which the true class' logit should lead", above=0)

    def build(self) -> "LossFunction":
        """See `losses.hinge`."""
        from imgrec import losses

        return partial(losses.hinge, margin=self.margin)
