"""Define the base class of the residual networks that were published for CIFAR-10."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from imgrec.components.model.residual import Residual

if TYPE_CHECKING:
    from torch import nn


@dataclass(kw_only=True)
class CifarResnet(Residual):
    """A residual network of He et al. 2016, section 4.2."""

    depth: ClassVar[int]

    @property
    def smallest(self) -> int:
        return 4  # leaves one pixel after both halvings

    def build(self, *, num_classes: int, image_size: int, channels: int, fetch: bool) -> "nn.Module":
        """See `models.cifar_resnet.CifarResnet`."""
        from imgrec.models.cifar_resnet import CifarResnet

        return CifarResnet(depth=self.depth, drop_path=self.drop_path, num_classes=num_classes, channels=channels)
