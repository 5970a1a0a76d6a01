"""Define the protocol axis: how the outputs that are scored are computed from an image."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from imgrec.config.component import Listed

if TYPE_CHECKING:
    from torch import Tensor

    from imgrec.protocols import Batch

    Rows = Mapping[str, Tensor]
    Measure = Callable[[Callable[[Tensor], Tensor], Batch], Rows]


@dataclass(kw_only=True)
class Protocol(Listed):
    """A protocol: the images as they are, averaged views, corrupted or attacked images.

    Attributes:
        rows_from: The setting whose values have a row each, if there is one; other settings tell scores of the same row
            apart.
        takes_gradients: True if it needs gradients with respect to the images, as an attack does.
    """

    axis: ClassVar[str] = "protocol"
    rows_from: ClassVar[str] = ""
    takes_gradients: ClassVar[bool] = False

    @abstractmethod
    def build(self) -> "Measure":
        """Return a function that takes the network and a batch, and returns the logits (N, K) of each row of scores.

        The network maps images (N, C, H, W) in [0, 1] to logits in float32. A protocol with one row names it "". A
        protocol with several rows, such as one per severity, names each, and its scores are those of
        `<protocol>:<row>`.
        """
