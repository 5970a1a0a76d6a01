"""Define protocol=tta_flip_shift."""

from typing import TYPE_CHECKING

from imgrec.config.protocol import Protocol
from imgrec.config.registry import register

if TYPE_CHECKING:
    from imgrec.config.protocol import Measure


@register("protocol", "tta_flip_shift")
class TtaFlipShift(Protocol):
    """Six views: mirrored or not, in place and shifted by a pixel (Jordan 2024, section 3.5)."""

    def build(self) -> "Measure":
        """See `protocols.tta_flip_shift`."""
        from imgrec import protocols

        return protocols.tta_flip_shift
