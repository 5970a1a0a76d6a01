"""Define model=vgg16_bn."""

from typing import TYPE_CHECKING

from imgrec.config.model import Model, refuse_small
from imgrec.config.registry import register

if TYPE_CHECKING:
    from torch import nn


@register("model", "vgg16_bn")
class Vgg16Bn(Model):
    """VGG-16 (Simonyan & Zisserman 2015, table 1, D) with batch norm and one linear layer; 14.7 million parameters.

    arXiv 1409.1556; batch normalisation by Ioffe & Szegedy 2015.
    """

    @property
    def smallest(self) -> int:
        return 32  # leaves one pixel after all five halvings

    def check_side(self, side: int, *, resizable: bool) -> None:
        """Refuse images that leave no pixel after the five halvings."""
        refuse_small(self.name, side, self.smallest, resizable=resizable)

    def build(self, *, num_classes: int, image_size: int, channels: int, fetch: bool) -> "nn.Module":
        """See `models.vgg.Vgg16`."""
        from imgrec.models.vgg import Vgg16

        return Vgg16(num_classes=num_classes, channels=channels)
