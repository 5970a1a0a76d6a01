"""Define model=preact_resnet18."""

from typing import TYPE_CHECKING

from imgrec.components.model.residual import Residual
from imgrec.config.registry import register

if TYPE_CHECKING:
    from torch import nn


@register("model", "preact_resnet18")
class PreactResnet18(Residual):
    """ResNet-18 for small images with full pre-activation (He et al. 2016b, section 4.1, figure 4e); 11.2 M parameters.

    "Identity mappings in deep residual networks", arXiv 1603.05027.
    """

    @property
    def smallest(self) -> int:
        return 8  # leaves one pixel after all three halvings

    def build(self, *, num_classes: int, image_size: int, channels: int, fetch: bool) -> "nn.Module":
        """See `models.preactivated.PreactResnet`."""
        from imgrec.models.preactivated import PreactResnet

        return PreactResnet(
            stem=64,
            widths=[64, 128, 256, 512],
            blocks=2,
            dropout=0.0,
            drop_path=self.drop_path,
            num_classes=num_classes,
            channels=channels,
        )
