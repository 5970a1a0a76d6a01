"""Define the base class of the model axis."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from imgrec.config.component import Component
from imgrec.config.fields import setting
from imgrec.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

ACTIVATIONS = ("relu", "leaky_relu", "gelu", "silu", "tanh", "elu")


@dataclass(kw_only=True)
class Model(Component):
    """A network."""

    axis: ClassVar[str] = "model"

    freeze: str = setting(
        "none",
        "what keeps its weights and statistics: none, backbone (all but the head), or a number: so many of the first"
        " layers; a block of a residual network or a transformer counts as one layer",
    )
    unfreeze_at: int = setting(
        0, "epochs with frozen layers, after which all layers train; 0: they stay frozen", at_least=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.freeze not in ("none", "backbone") and not (self.freeze.isdecimal() and int(self.freeze)):
            raise UsageError(
                f"model.freeze must be none, backbone or a number of layers, got {self.freeze!r}; give"
                " model.freeze=backbone to train the head alone"
            )
        if self.unfreeze_at and self.freeze == "none":
            raise UsageError(
                f"model.unfreeze_at={self.unfreeze_at} has no effect with model.freeze=none; give"
                " model.freeze=backbone, or leave it out"
            )

    @property
    def smallest(self) -> int | None:
        """The smallest side of images that the network takes, in pixels; None if the first image sets the side."""
        return None

    @property
    def stays_frozen(self) -> bool:
        """True if some layers never train."""
        return self.freeze != "none" and not self.unfreeze_at

    @property
    def is_pretrained(self) -> bool:
        """True if a new network begins with published weights."""
        return False

    def published(self) -> str | None:
        """Return the name of the published weights that a new network begins with, as a part of the run's id.

        It may import what computes.

        Returns:
            None for random weights, and for weights that the configuration names by itself.
        """
        return None

    def head(self, net: "nn.Module") -> tuple[str, ...]:
        """Return the names of the layers of `net` that give the classes.

        Returns:
            () for the last linear layer or convolution.
        """
        return ()

    def layers(self, net: "nn.Module") -> Mapping[str, int]:
        """Return the depth of each tensor of `net.state_dict()`: 0 for the first layer, and the most for the head.

        Returns:
            {} for the depths that `models.parts.layers_of` finds.
        """
        return {}

    def check_side(self, side: int, *, resizable: bool) -> None:
        """Refuse images that the network cannot take.

        Args:
            side: The side of the images, in pixels.
            resizable: True if data.image_size sets the side, False if the data set determines it.
        """

    def check_images(self, side: int, *, resizable: bool) -> None:
        """Refuse images that the network cannot take, where only the network itself can tell.

        It is called once before a run begins, and may import what computes; `check_side` may not.

        Args:
            side: As in `check_side`.
            resizable: As in `check_side`.
        """

    def check_beginning(self) -> None:
        """Refuse a network that a new run cannot start with."""

    def normalisation(self, mean: Sequence[float], std: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
        """Return the mean and the deviation of each channel with which the network normalises pixels in [0, 1].

        Args:
            mean: The means of the data's channels.
            std: The deviations of the data's channels.
        """
        return mean, std

    @abstractmethod
    def build(self, *, num_classes: int, image_size: int, channels: int, fetch: bool) -> "nn.Module":
        """Return a module that maps normalised images (N, channels, image_size, image_size) to logits (N, num_classes).

        Args:
            num_classes: The number of classes.
            image_size: The side of the images, in pixels.
            channels: The channels of the images.
            fetch: False to omit pretrained weights, for a network that gets its weights from a checkpoint.

        Raises:
            UsageError: The images do not fit the network.
            RunError: Pretrained weights are not available.
        """


def refuse_small(name: str, side: int, smallest: int, *, resizable: bool) -> None:
    """Refuse images that are too small for a network.

    Args:
        name: The network, as the refusal names it.
        side: The side of the images, in pixels.
        smallest: The smallest side that the network takes, in pixels.
        resizable: True if data.image_size sets the side, False if the data set determines it.

    Raises:
        UsageError: The images are too small.
    """
    if side < smallest:
        way_out = f"give data.image_size={smallest}" if resizable else "choose another network"
        raise UsageError(f"model={name} needs images of at least {smallest} px, got {side}; {way_out}")


def refuse_depth(depth: int) -> None:
    """Refuse a depth that three stages of equal blocks, of two layers each, cannot have beside four other layers.

    Args:
        depth: The number of layers with weights.

    Raises:
        UsageError: The depth is not 6 n + 4.
    """
    if (depth - 4) % 6:
        near = 6 * round((depth - 4) / 6) + 4
        raise UsageError(f"model.depth must be 6 n + 4, got {depth}; give model.depth={near}")
