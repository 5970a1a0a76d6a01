"""Define the protocol axis: how the outputs that are scored are computed from an image."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from imgrec.config.component import Listed

if TYPE_CHECKING:
    from torch import Tensor

    from imgrec.protocols import Batch, Forward, Known

    Rows = Mapping[str, Tensor]
    Measure = Callable[[Forward, Batch], Rows]
    Learner = Callable[[Known], Measure]


@dataclass(kw_only=True)
class Protocol(Listed):
    """A protocol: the images as they are, averaged views, corrupted or attacked images.

    Attributes:
        rows_from: The setting whose values have a row each, if there is one; other settings tell scores of the same row
            apart.
        takes_gradients: True if it needs gradients with respect to the images, as an attack does.
        learns: True if it learns from the training images, without augmentation, before it measures, as a probe does.
    """

    axis: ClassVar[str] = "protocol"
    rows_from: ClassVar[str] = ""
    takes_gradients: ClassVar[bool] = False
    learns: ClassVar[bool] = False

    @abstractmethod
    def build(self) -> "Measure | Learner":
        """Return a function that takes the network and a batch, and returns the logits (N, K) of each row of scores.

        The network maps images (N, C, H, W) in [0, 1] to logits in float32, and `network.features(images)` gives what
        enters the layer that gives the classes. A protocol with one row names it "". A protocol with several rows, such
        as one per severity, names each, and its scores are those of `<protocol>:<row>`.

        A protocol that learns returns a function that takes the features of the training images (`protocols.Known`) and
        returns the function above.
        """
