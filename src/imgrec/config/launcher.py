"""The launcher axis: how the runs of a sweep are carried out. No part of what a run is."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from imgrec.config.component import Component

if TYPE_CHECKING:
    from imgrec.sweep.watch import Launcher as Runner


@dataclass(kw_only=True)
class Launcher(Component):
    """A launcher.

    Attributes:
        in_process: True if it carries runs out in the process of the sweep, which sees nothing of how they end where
            they end it.
    """

    axis: ClassVar[str] = "launcher"
    in_process: ClassVar[bool] = False

    @abstractmethod
    def build(self) -> "Runner":
        """What carries out the jobs of a sweep, see `sweep.watch.Launcher`."""
