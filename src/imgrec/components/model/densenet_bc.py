"""Define model=densenet_bc."""

from typing import TYPE_CHECKING

from imgrec.config.fields import setting
from imgrec.config.model import Model, refuse_depth
from imgrec.config.registry import register

if TYPE_CHECKING:
    from torch import nn


@register("model", "densenet_bc")
class DensenetBc(Model):
    """DenseNet-BC (Huang et al. 2017, section 3), by default of depth 100 and growth 12; 0.8 million parameters.

    arXiv 1608.06993; table 2 has its results.
    """

    depth: int = setting(100, "layers with weights: 6 n + 4 for n bottlenecks in each of three blocks", at_least=10)
    growth: int = setting(12, "channels that each bottleneck adds", at_least=1)
    dropout: float = setting(0.0, "probability of dropping a value that a bottleneck adds", at_least=0, below=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_depth(self.depth)

    @property
    def smallest(self) -> int:
        return 4  # leaves one pixel after both halvings

    def build(self, *, num_classes: int, image_size: int, channels: int, fetch: bool) -> "nn.Module":
        """See `models.densenet.densenet_bc`."""
        from imgrec.models.densenet import densenet_bc

        return densenet_bc(
            depth=self.depth, growth=self.growth, dropout=self.dropout, num_classes=num_classes, channels=channels
        )
