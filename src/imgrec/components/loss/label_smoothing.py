"""Define loss=label_smoothing."""

from functools import partial
from typing import TYPE_CHECKING

from imgrec.config.fields import setting
from imgrec.config.loss import Loss
from imgrec.config.registry import register

if TYPE_CHECKING:
    from imgrec.losses import LossFunction


@register("loss", "label_smoothing")
class LabelSmoothing(Loss):
    """Cross-entropy against targets mixed with the uniform distribution (Szegedy et al. 2016, section 7)."""

    smoothing: float = setting(
        0.1, "share of the target spread over all classes (Szegedy et al. 2016, section 7)", at_least=0, below=1
    )

    def build(self) -> "LossFunction":
        """See `losses.label_smoothing`."""
        from imgrec import losses

        return partial(losses.label_smoothing, smoothing=self.smoothing)
