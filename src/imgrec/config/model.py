"""The model axis: what every network has."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from imgrec.config.component import Component

if TYPE_CHECKING:
    from torch import nn

ACTIVATIONS = ("relu", "leaky_relu", "gelu", "silu", "tanh", "elu")


@dataclass(kw_only=True)
class Model(Component):
    """A network."""

    axis: ClassVar[str] = "model"

    @property
    def smallest(self) -> int | None:
        """The smallest side that the network takes, in pixels; None where the first image's side settles it."""
        return None

    def check_side(self, side: int, *, resizable: bool) -> None:
        """Refuse images that the network cannot take. Raises UsageError.

        Args:
            side: Of the images, in pixels.
            resizable: True if data.image_size sets it, False if the data set has it.
        """

    def check_beginning(self) -> None:
        """Refuse a network that a new run cannot begin with. Raises UsageError."""

    def normalisation(self, mean: Sequence[float], std: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
        """The mean and the deviation, a value a channel, by which the network normalises pixels in [0, 1].

        Args:
            mean: The data's.
            std: The data's.
        """
        return mean, std

    @abstractmethod
    def build(self, *, num_classes: int, image_size: int, channels: int, fetch: bool) -> "nn.Module":
        """A module from normalised images (N, channels, image_size, image_size) to logits (N, num_classes).

        Args:
            num_classes: K.
            image_size: The side of the images, in pixels.
            channels: Of the images.
            fetch: False leaves pretrained weights out, for a network that gets its weights from a checkpoint.

        Raises:
            UsageError: The images do not fit the network.
            RunError: Pretrained weights cannot be had.
        """
