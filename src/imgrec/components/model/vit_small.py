"""Define model=vit_small."""

from typing import TYPE_CHECKING

from imgrec.components.model.residual import Residual
from imgrec.config.fields import setting
from imgrec.config.registry import register
from imgrec.errors import UsageError

if TYPE_CHECKING:
    from torch import nn


@register("model", "vit_small")
class VitSmall(Residual):
    """Vision transformer (Dosovitskiy et al. 2021, section 3.1) of DeiT-S' size, 4 px patches; 21.3 M parameters.

    arXiv 2010.11929; the size is that of Touvron et al. 2021 (arXiv 2012.12877), table 1.
    """

    patch: int = setting(4, "side of a patch, in pixels; it divides the images' side", at_least=1)
    dropout: float = setting(
        0.0, "probability of dropping a value of the embedding or of a block's output", at_least=0, below=1
    )

    def check_side(self, side: int, *, resizable: bool) -> None:
        """Refuse a side that patches do not divide."""
        if side % self.patch == 0:
            return
        if resizable:
            raise UsageError(f"data.image_size must be a multiple of {self.patch}, model.patch, got {side}")
        raise UsageError(f"model.patch must divide the images' side of {side} px, got {self.patch}")

    def build(self, *, num_classes: int, image_size: int, channels: int, fetch: bool) -> "nn.Module":
        """See `models.vit.vit_small`."""
        from imgrec.models.vit import vit_small

        return vit_small(
            patch=self.patch,
            dropout=self.dropout,
            drop_path=self.drop_path,
            num_classes=num_classes,
            image_size=image_size,
            channels=channels,
        )
