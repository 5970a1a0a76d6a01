"""Define loss=cross_entropy."""

from typing import TYPE_CHECKING

from imgrec.config.loss import Loss
from imgrec.config.registry import register

if TYPE_CHECKING:
    from imgrec.losses import LossFunction


@register("loss", "cross_entropy")
class CrossEntropy(Loss):
    """Negative log-likelihood of the softmax."""

    def build(self) -> "LossFunction":
        """See `losses.cross_entropy`."""
        from imgrec import losses

        return losses.cross_entropy
