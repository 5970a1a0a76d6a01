"""The model axis: which network."""

from dataclasses import dataclass

from omegaconf import MISSING

from imgrec.config.fields import above, at_least, below, choice, setting, within
from imgrec.errors import UsageError

ACTIVATIONS = ("relu", "leaky_relu", "gelu", "silu", "tanh", "elu")
STEMS = ("cifar", "imagenet")


@dataclass(kw_only=True)
class Model:
    """What every network has."""

    name: str = MISSING

    @property
    def smallest(self) -> int | None:
        """The smallest side that the network takes, in pixels; None where the first image's side settles it."""
        return None


@dataclass(kw_only=True)
class Cnn(Model):
    """Stages of 3x3 convolutions, each closed by 2x2 max-pooling, then a hidden layer and the classes."""

    name: str = "cnn"
    widths: list[int] = setting(lambda: [32, 64, 128], "output channels of each stage; every stage halves the image")
    depth: int = setting(1, "3x3 convolutions in each stage")
    hidden: int = setting(512, "units of the fully connected layer")
    activation: str = setting("relu", f"after every layer but the last: {', '.join(ACTIVATIONS)}")
    batch_norm: bool = setting(False, "batch normalisation after every convolution")
    dropout: float = setting(0.0, "probability of dropping a hidden unit")

    def __post_init__(self) -> None:
        if not self.widths:
            raise UsageError("model.widths must name at least one stage, got []; the default is [32,64,128]")
        for width in self.widths:
            at_least("model.widths", width, 1)
        at_least("model.depth", self.depth, 1)
        at_least("model.hidden", self.hidden, 1)
        choice("model.activation", self.activation, ACTIVATIONS)
        below("model.dropout", self.dropout, 0, 1)


@dataclass(kw_only=True)
class WhitenedCnn(Model):
    """A network for few epochs: fixed whitening filters, then stages that begin as identity (Jordan 2024)."""

    name: str = "whitened_cnn"
    widths: list[int] = setting(lambda: [64, 256, 256], "output channels of each stage; every stage halves the image")
    depth: int = setting(2, "3x3 convolutions in each stage")
    residual: bool = setting(False, "add what enters a stage's later convolutions to what they make of it")
    activation: str = setting("gelu", f"after every layer but the last: {', '.join(ACTIVATIONS)}")
    whiten_kernel: int = setting(2, "side of the patches that the first layer whitens, in pixels")
    norm_momentum: float = setting(0.4, "weight of the newest batch in batch normalisation's running statistics")

    def __post_init__(self) -> None:
        if not self.widths:
            raise UsageError("model.widths must name at least one stage, got []; the default is [64,256,256]")
        for width in self.widths:
            at_least("model.widths", width, 1)
        at_least("model.depth", self.depth, 1)
        if self.residual:
            at_least("model.depth", self.depth, 2, "model.residual=true needs a convolution to go around")
        choice("model.activation", self.activation, ACTIVATIONS)
        at_least("model.whiten_kernel", self.whiten_kernel, 1)
        above("model.norm_momentum", self.norm_momentum, 0)
        within("model.norm_momentum", self.norm_momentum, 0, 1)

    @property
    def smallest(self) -> int:
        return int(2 ** len(self.widths)) + self.whiten_kernel - 1


@dataclass(kw_only=True)
class Resnet(Model):
    """torchvision's residual networks (He et al. 2016)."""

    stem: str = setting(
        "cifar", "cifar: 3x3, stride 1, no max-pool, for small images; imagenet: 7x7, stride 2, max-pool"
    )
    pretrained: bool = setting(False, "start from torchvision's ImageNet weights (downloaded); needs stem=imagenet")
    freeze_backbone: bool = setting(False, "train the last layer only; the rest keeps its weights and statistics")

    def __post_init__(self) -> None:
        choice("model.stem", self.stem, STEMS)
        if self.pretrained and self.stem != "imagenet":
            raise UsageError(
                f"model.pretrained=true needs model.stem=imagenet (the weights have a 7x7 stem), got {self.stem!r}"
            )

    @property
    def smallest(self) -> int:
        return 8 if self.stem == "cifar" else 32  # a pixel is left after all halvings


@dataclass(kw_only=True)
class Resnet18(Resnet):
    """ResNet-18: basic blocks, 11.2 million parameters at 10 classes."""

    name: str = "resnet18"


@dataclass(kw_only=True)
class Resnet50(Resnet):
    """ResNet-50: bottleneck blocks, 23.5 million parameters at 10 classes."""

    name: str = "resnet50"
