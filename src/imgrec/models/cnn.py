"""Define a plain convolutional network whose layer sizes follow from the image's size."""

# N images, C channels, K classes, S the image's side

from collections.abc import Sequence

from torch import Tensor, nn

from imgrec.errors import UsageError
from imgrec.models.activation import activation as named

_MONOTONE = ("relu", "leaky_relu", "tanh", "elu")  # gelu and silu fall before they rise


class Cnn(nn.Module):
    """Stages of 3x3 convolutions that end in 2x2 max-pooling, then a hidden layer and the classes.

    Every stage halves the image; its convolutions keep the size (padding 1). Each convolution is followed by batch
    normalisation, if configured, and by the activation. With the default widths [32, 64, 128], an image of 32 px
    becomes 4x4x128 values for the hidden layer. Weights have PyTorch's default initialisation (He et al. 2015 uniform
    with a = sqrt(5)). Forward: (N, C, S, S) -> logits (N, K).

    Raises:
        UsageError: Image_size (pixels along each side) is no multiple of 2 ** (number of stages).
    """

    def __init__(
        self,
        *,
        widths: Sequence[int],
        depth: int,
        hidden: int,
        activation: str,
        batch_norm: bool,
        dropout: float,
        num_classes: int,
        image_size: int,
        channels: int,
    ) -> None:
        super().__init__()
        shrink = 2 ** len(widths)
        if image_size % shrink or image_size < shrink:
            raise UsageError(
                f"model.widths with {len(widths)} stages needs images whose side is a multiple of {shrink}, "
                f"got {image_size} px; choose another image size or other model.widths"
            )
        self.stages = nn.Sequential(
            *(
                _stage(depth, inputs=before, outputs=width, act=activation, batch_norm=batch_norm)
                for before, width in zip([channels, *widths[:-1]], widths, strict=True)
            )
        )
        side = image_size // shrink
        self.hidden = nn.Sequential(
            nn.Flatten(),
            nn.Linear(widths[-1] * side * side, hidden),
            named(activation),
            *([nn.Dropout(dropout)] if dropout else []),
        )
        self.classes = nn.Linear(hidden, num_classes)

    def forward(self, images_nchw: Tensor) -> Tensor:
        logits_nk: Tensor = self.classes(self.hidden(self.stages(images_nchw)))
        return logits_nk


def _stage(depth: int, *, inputs: int, outputs: int, act: str, batch_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for index in range(depth):
        # batch normalisation subtracts the mean, so a bias before it has no effect
        layers.append(
            nn.Conv2d(inputs if index == 0 else outputs, outputs, kernel_size=3, padding=1, bias=not batch_norm)
        )
        if batch_norm:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(named(act))
    if act in _MONOTONE:
        # max(f(a), f(b)) = f(max(a, b)) where f never falls: after pooling, f has a quarter of the work
        layers.insert(-1, nn.MaxPool2d(2))
    else:
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)
