"""Define the sweep axis: the runs of a command with -m, and what follows a failed run. No part of a run's identity."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from imgrec.config.component import Component
from imgrec.config.fields import setting

if TYPE_CHECKING:
    from imgrec.sweeps.strategy import Strategy

ON_ERROR = ("continue", "stop")


@dataclass(kw_only=True)
class Sweep(Component):
    """The base class of all sweeps.

    Attributes:
        chooses: True if it compares runs by their validation top1, so that each needs validation images.
        proposes: True if it creates runs as it goes on, and takes intervals of values.
    """

    axis: ClassVar[str] = "sweep"
    chooses: ClassVar[bool] = False
    proposes: ClassVar[bool] = False
    on_error: str = setting(
        "continue",
        "continue: a failed run keeps no other from running; stop: start no more, save those that run",
        identity=False,
        among=ON_ERROR,
    )
    known: str | None = setting(
        None,
        "a folder of records, as experiments/ keeps them: a run that has a finished one there counts as finished",
        identity=False,
    )
    cancel: bool = setting(
        False,
        "Ctrl-C also cancels the runs that a cluster carries out (launcher=slurm), which otherwise go on; runs of this"
        " machine are always saved and ended",
        identity=False,
    )
    retry_failed: bool = setting(False, "try runs again that failed when the command was given before", identity=False)
    estimate: bool = setting(
        False,
        "say what the sweep costs (runs, time, energy, CO2), from records of like runs or a short measurement, and run"
        " nothing; docs/cost.md explains the figures",
        identity=False,
    )
    watts: float | None = setting(
        None,
        "estimate: power in W of a core in use, or of a GPU; null: 12 a core, as Green Algorithms (Lannelongue et al."
        " 2021) takes for any CPU, and no figure for a GPU",
        identity=False,
        above=0,
    )
    price: float | None = setting(
        None,
        "estimate: money for an hour of a core, or of a GPU, in any currency; null: no figure, as prices differ",
        identity=False,
        at_least=0,
    )
    carbon: float = setting(
        0.481,
        "estimate: kg of CO2 equivalents for a kWh; the default is the world's mean of 2023 (Ember 2024)",
        identity=False,
        at_least=0,
    )

    @property
    def ends_runs_early(self) -> bool:
        """True if it ends runs before they finish."""
        return False

    @property
    def tries(self) -> Sequence[str]:
        """The overrides that it tries besides those of the command."""
        return ()

    @abstractmethod
    def build(self) -> "Strategy":
        """Return the object that decides which runs there are, see `sweep.strategy.Strategy`."""
