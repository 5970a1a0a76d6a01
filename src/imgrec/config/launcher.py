"""Define the launcher axis: how the runs of a sweep are carried out. It is no part of a run's identity."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from imgrec.config.component import Component

if TYPE_CHECKING:
    from imgrec.config.trainer import Trainer
    from imgrec.sweeps.watch import Launcher as Runner


@dataclass(kw_only=True)
class Launcher(Component):
    """A launcher.

    Attributes:
        in_process: True if it carries out runs in the process of the sweep. A run that ends this process ends the sweep
            as well.
        elsewhere: True if it carries out runs on other machines, so that this one may lack what they need.
        ends_early: True if it can end one run while others go on, as searches with a pruner ask for.
    """

    axis: ClassVar[str] = "launcher"
    in_process: ClassVar[bool] = False
    elsewhere: ClassVar[bool] = False
    ends_early: ClassVar[bool] = False

    def check(self, trainer: "Trainer") -> None:
        """Check that it can carry out runs with these settings of the trainer.

        Raises:
            UsageError: It cannot.
        """

    def check_search(self) -> None:
        """Check that it can carry out a search, which proposes runs after others have ended.

        Raises:
            UsageError: It cannot.
        """

    @abstractmethod
    def build(self) -> "Runner":
        """Return the object that carries out the jobs of a sweep, see `sweep.watch.Launcher`."""
