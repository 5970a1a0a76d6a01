"""Define callback=gradient_norm."""

from typing import TYPE_CHECKING, ClassVar

from imgrec.config.callback import Callback
from imgrec.config.fields import setting
from imgrec.config.registry import register

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback as LightningCallback


@register("callback", "gradient_norm")
class GradientNorm(Callback):
    """Log the gradient's norm before it is clipped, as train/gradient_norm."""

    observes: ClassVar[bool] = True
    every: int = setting(50, "steps from one logged norm to the next", identity=False, at_least=1)

    def build(self) -> "LightningCallback":
        """See `training.gradient_norm`."""
        from imgrec.training.gradient_norm import LogGradientNorm

        return LogGradientNorm(every=self.every)
