"""The protocol axis: how the network's outputs for an image are obtained when it is scored."""

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
        takes_gradients: True if it needs gradients with respect to the images, as an attack does.
    """

    axis: ClassVar[str] = "protocol"
    takes_gradients: ClassVar[bool] = False

    @abstractmethod
    def build(self) -> "Measure":
        """Return the function of network and batch that gives the logits (N, K) of each row of scores.

        The network takes images (N, C, H, W) in [0, 1] and gives logits in float32. A protocol with one row calls it
        ""; one with several, at five severities say, gives each a name, and scores are those of `<protocol>:<row>`.
        """
