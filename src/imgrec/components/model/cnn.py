"""Define model=cnn."""

from typing import TYPE_CHECKING

from imgrec.config.fields import setting
from imgrec.config.model import ACTIVATIONS, Model
from imgrec.config.registry import register
from imgrec.errors import UsageError

if TYPE_CHECKING:
    from torch import nn


@register("model", "cnn")
class Cnn(Model):
    """Three 3x3 convolutions (32-64-128), each with ReLU and 2x2 max-pooling, 512 hidden units, the classes."""

    widths: list[int] = setting(
        lambda: [32, 64, 128], "output channels of each stage; every stage halves the image", at_least=1
    )
    depth: int = setting(1, "3x3 convolutions in each stage", at_least=1)
    hidden: int = setting(512, "units of the fully connected layer", at_least=1)
    activation: str = setting("relu", f"after every layer but the last: {', '.join(ACTIVATIONS)}", among=ACTIVATIONS)
    batch_norm: bool = setting(False, "batch normalisation after every convolution")
    dropout: float = setting(0.0, "probability of dropping a hidden unit", at_least=0, below=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.widths:
            raise UsageError("model.widths must name at least one stage, got []; the default is [32,64,128]")

    def check_side(self, side: int, *, resizable: bool) -> None:
        """Refuse a side that the three stages cannot halve."""
        stages = len(self.widths)
        factor = 2**stages
        if side % factor == 0:
            return
        if resizable:
            raise UsageError(f"data.image_size must be a multiple of {factor} for a cnn of {stages} stages, got {side}")
        raise UsageError(
            f"model.widths must name fewer stages for {side}x{side} images: {stages} stages need a side that is a"
            f" multiple of {factor}"
        )

    def build(self, *, num_classes: int, image_size: int, channels: int, fetch: bool) -> "nn.Module":
        """See `models.cnn.Cnn`."""
        from imgrec.models.cnn import Cnn

        return Cnn(
            widths=self.widths,
            depth=self.depth,
            hidden=self.hidden,
            activation=self.activation,
            batch_norm=self.batch_norm,
            dropout=self.dropout,
            num_classes=num_classes,
            image_size=image_size,
            channels=channels,
        )
