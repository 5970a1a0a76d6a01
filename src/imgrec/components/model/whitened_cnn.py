"""Define model=whitened_cnn."""

from typing import TYPE_CHECKING

from imgrec.config.fields import at_least, setting
from imgrec.config.model import ACTIVATIONS, Model
from imgrec.config.registry import register
from imgrec.errors import UsageError

if TYPE_CHECKING:
    from torch import nn


@register("model", "whitened_cnn")
class WhitenedCnn(Model):
    """A network for few epochs: whitened patches, identity at the start (Jordan 2024); 2.0 M parameters.

    arXiv 2404.00498.
    """

    widths: list[int] = setting(
        lambda: [64, 256, 256], "output channels of each stage; every stage halves the image", at_least=1
    )
    depth: int = setting(2, "3x3 convolutions in each stage", at_least=1)
    residual: bool = setting(False, "add what enters a stage's later convolutions to what they make of it")
    activation: str = setting("gelu", f"after every layer but the last: {', '.join(ACTIVATIONS)}", among=ACTIVATIONS)
    whiten_kernel: int = setting(2, "side of the patches that the first layer whitens, in pixels", at_least=1)
    norm_momentum: float = setting(
        0.4, "weight of the newest batch in batch normalisation's running statistics", above=0, at_most=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.widths:
            raise UsageError("model.widths must name at least one stage, got []; the default is [64,256,256]")
        if self.residual:
            at_least("model.depth", self.depth, 2, "model.residual=true needs a convolution to go around")

    @property
    def smallest(self) -> int:
        return int(2 ** len(self.widths)) + self.whiten_kernel - 1

    def check_side(self, side: int, *, resizable: bool) -> None:
        """Refuse images that leave no pixel after all stages."""
        if side < self.smallest:
            raise UsageError(
                f"model.widths with {len(self.widths)} stages and model.whiten_kernel={self.whiten_kernel} needs"
                f" images of at least {self.smallest} px, got {side}; name fewer stages, or a smaller kernel"
            )

    def build(self, *, num_classes: int, image_size: int, channels: int, fetch: bool) -> "nn.Module":
        """See `models.whitened.WhitenedCnn`."""
        from imgrec.models.whitened import WhitenedCnn

        return WhitenedCnn(
            widths=self.widths,
            depth=self.depth,
            residual=self.residual,
            activation=self.activation,
            whiten_kernel=self.whiten_kernel,
            norm_momentum=self.norm_momentum,
            num_classes=num_classes,
            channels=channels,
        )
