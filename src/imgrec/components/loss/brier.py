"""Define loss=brier."""

from typing import TYPE_CHECKING

from imgrec.config.loss import Loss
from imgrec.config.registry import register

if TYPE_CHECKING:
    from imgrec.losses import LossFunction


@register("loss", "brier")
class Brier(Loss):
    """Squared distance between the softmax and the target (Brier 1950)."""

    def build(self) -> "LossFunction":
        """See `losses.brier`."""
        from imgrec import losses

        return losses.brier
