"""Define sweep=grid."""

from typing import TYPE_CHECKING

from imgrec.config.registry import register
from imgrec.config.sweep import Sweep

if TYPE_CHECKING:
    from imgrec.sweeps.strategy import Strategy


@register("sweep", "grid")
class Grid(Sweep):
    """Every combination of the values after commas."""

    def build(self) -> "Strategy":
        """See `sweep.grid`."""
        from imgrec.sweeps import grid

        return grid.Grid()
