"""Define model=wide_resnet."""

from typing import TYPE_CHECKING

from imgrec.components.model.residual import Residual
from imgrec.config.fields import setting
from imgrec.config.model import refuse_depth
from imgrec.config.registry import register

if TYPE_CHECKING:
    from torch import nn


@register("model", "wide_resnet")
class WideResnet(Residual):
    """Wide residual network (Zagoruyko & Komodakis 2016, table 1), by default WRN-28-10; 36.5 million parameters.

    arXiv 1605.07146; sections 2.3 (width) and 2.4 (dropout).
    """

    depth: int = setting(28, "layers with weights: 6 n + 4 for n blocks in each of the three stages", at_least=10)
    widen: int = setting(10, "how often the 16, 32 and 64 channels of the stages are taken", at_least=1)
    dropout: float = setting(
        0.0, "probability of dropping a value between the convolutions of a block", at_least=0, below=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_depth(self.depth)

    @property
    def smallest(self) -> int:
        return 4  # leaves one pixel after both halvings

    def build(self, *, num_classes: int, image_size: int, channels: int, fetch: bool) -> "nn.Module":
        """See `models.preactivated.PreactResnet`."""
        from imgrec.models.preactivated import PreactResnet

        return PreactResnet(
            stem=16,
            widths=[width * self.widen for width in (16, 32, 64)],
            blocks=(self.depth - 4) // 6,
            dropout=self.dropout,
            drop_path=self.drop_path,
            num_classes=num_classes,
            channels=channels,
        )
