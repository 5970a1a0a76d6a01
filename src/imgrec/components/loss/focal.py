"""Define loss=focal."""

from functools import partial
from typing import TYPE_CHECKING

from imgrec.config.fields import setting
from imgrec.config.loss import Loss
from imgrec.config.registry import register

if TYPE_CHECKING:
    from imgrec.losses import LossFunction


@register("loss", "focal")
class Focal(Loss):
    """Cross-entropy weighted by (1 - p)^gamma (Lin et al. 2017)."""

    gamma: float = setting(
        2.0, "how strongly easy examples are weighed down; 0 is cross-entropy (Lin et al. 2017)", at_least=0
    )

    def build(self) -> "LossFunction":
        """See `losses.focal`."""
        from imgrec import losses

        return partial(losses.focal, gamma=self.gamma)
