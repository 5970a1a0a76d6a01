"""Define protocol=clean."""

from typing import TYPE_CHECKING

from imgrec.config.protocol import Protocol
from imgrec.config.registry import register

if TYPE_CHECKING:
    from imgrec.config.protocol import Measure


@register("protocol", "clean")
class Clean(Protocol):
    """The images as they are."""

    def build(self) -> "Measure":
        """See `protocols.clean`."""
        from imgrec import protocols

        return protocols.clean
