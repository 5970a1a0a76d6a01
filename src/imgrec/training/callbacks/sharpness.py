"""Define callback=sharpness."""

from typing import TYPE_CHECKING, ClassVar

from imgrec.config.callback import Callback
from imgrec.config.fields import setting
from imgrec.config.registry import register

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback as LightningCallback


@register("callback", "sharpness")
class Sharpness(Callback):
    """Log the largest eigenvalue of the training loss' Hessian, as train/sharpness (Cohen et al. 2021)."""

    observes: ClassVar[bool] = True
    every: int = setting(1, "epochs from one measurement to the next", identity=False, at_least=1)
    images: int = setting(
        512, "training images to measure on; each is differentiated twice some 20 times", identity=False, at_least=1
    )

    def build(self) -> "LightningCallback":
        """See `training.curvature`."""
        from imgrec.training.curvature import LogSharpness

        return LogSharpness(every=self.every, images=self.images)
