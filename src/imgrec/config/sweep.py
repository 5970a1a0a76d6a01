"""The sweep axis: which runs a command with -m asks for, and what follows when one fails. No part of what a run is."""

from dataclasses import dataclass

from omegaconf import MISSING

from imgrec.config.fields import at_least, choice, setting, within
from imgrec.errors import UsageError

ON_ERROR = ("continue", "stop")


@dataclass(kw_only=True)
class Sweep:
    """What every sweep has."""

    name: str = MISSING
    on_error: str = setting(
        "continue",
        "continue: a failed run keeps no other from running; stop: start no more, save those that run",
        identity=False,
    )
    retry_failed: bool = setting(False, "try runs again that failed when the command was given before", identity=False)

    def __post_init__(self) -> None:
        choice("sweep.on_error", self.on_error, ON_ERROR)


@dataclass(kw_only=True)
class Grid(Sweep):
    """Every combination of the values after commas."""

    name: str = "grid"


@dataclass(kw_only=True)
class Tuned(Sweep):
    """A grid whose every choice first gets values of its own, found on validation with the test set closed.

    Each combination of the grid, its seed aside, tries the same values over the same seeds: an equal budget.
    """

    name: str = "tuned"
    tune: list[str] = setting(
        lambda: ["optimizer.lr_scale=0.1,0.3,1,3,10"], "words whose values are tried for each choice", identity=False
    )
    tune_seeds: list[int] = setting(
        lambda: [0], "seeds over which a value's validation top1 is averaged", identity=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tune:
            raise UsageError("sweep.tune must name what is tried, got []; give words, or sweep=grid")
        if not self.tune_seeds or len(set(self.tune_seeds)) < len(self.tune_seeds):
            raise UsageError(f"sweep.tune_seeds must name seeds, each once, got {list(self.tune_seeds)}")
        for seed in self.tune_seeds:
            within("sweep.tune_seeds", seed, 0, 2**32 - 1)


@dataclass(kw_only=True)
class Optuna(Sweep):
    """A search by Optuna's tree-structured Parzen estimator (Bergstra et al. 2011) for the best validation top1."""

    name: str = "optuna"
    trials: int = setting(20, "trials in all, those of earlier starts of the command included", identity=False)
    sampler_seed: int = setting(0, "decides what the sampler draws", identity=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("sweep.trials", self.trials, 1)
        within("sweep.sampler_seed", self.sampler_seed, 0, 2**32 - 1)
