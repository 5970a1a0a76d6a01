"""Define the base class of the model axis."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from imgrec.config.component import Component
from imgrec.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

ACTIVATIONS = ("relu", "leaky_relu", "gelu", "silu", "tanh", "elu")


@dataclass(kw_only=True)
class Model(Component):
    """A network."""

    axis: ClassVar[str] = "model"

    @property
    def smallest(self) -> int | None:
        """The smallest side of images that the network takes, in pixels; None if the first image sets the side."""
        return None

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
