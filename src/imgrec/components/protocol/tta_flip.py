"""Define protocol=tta_flip."""

from typing import TYPE_CHECKING

from imgrec.config.protocol import Protocol
from imgrec.config.registry import register

if TYPE_CHECKING:
    from imgrec.config.protocol import Measure


@register("protocol", "tta_flip")
class TtaFlip(Protocol):
    """The mean of the logits of each image and its mirror image."""

    def build(self) -> "Measure":
        """See `protocols.tta_flip`."""
        from imgrec import protocols

        return protocols.tta_flip
