"""Define callback=noise_scale."""

from typing import TYPE_CHECKING, ClassVar

from imgrec.config.callback import Callback
from imgrec.config.fields import setting
from imgrec.config.registry import register
from imgrec.errors import UsageError

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback as LightningCallback


@register("callback", "noise_scale")
class NoiseScale(Callback):
    """Log the gradient's simple noise scale, in images, as train/noise_scale (McCandlish et al. 2018)."""

    observes: ClassVar[bool] = True
    every: int = setting(1, "epochs from one measurement to the next", identity=False, at_least=1)
    images: int = setting(2048, "training images to measure on: the large batch", identity=False, at_least=2)
    small_batch: int = setting(
        32, "images of a small batch, at most half of callback.noise_scale.images", identity=False, at_least=1
    )

    def check_images(self, training: int) -> None:
        """Refuse a small batch of which the images do not make two.

        Raises:
            UsageError: The batch is too large.
        """
        images = min(self.images, training)
        if images < 2:
            raise UsageError(
                f"callbacks=[{self.name}] needs 2 training images or more, and there is {images}; leave it out"
            )
        if images < 2 * self.small_batch:
            raise UsageError(
                f"{self.prefix}.small_batch must be at most half of the {images} images, got {self.small_batch}; use"
                f" {images // 2}"
            )

    def build(self) -> "LightningCallback":
        """See `training.curvature`."""
        from imgrec.training.curvature import LogNoiseScale

        return LogNoiseScale(
            every=self.every, images=self.images, small_batch=self.small_batch, check=self.check_images
        )
