"""The sweep axis: which runs a command with -m asks for, and what follows when one fails. No part of what a run is."""

from dataclasses import dataclass
from typing import ClassVar

from imgrec.config.component import Component
from imgrec.config.fields import setting, within
from imgrec.config.registry import register
from imgrec.errors import UsageError

ON_ERROR = ("continue", "stop")
TUNING_SEED = 100  # far from 0, 1, 2, ..., with which final runs are made


@dataclass(kw_only=True)
class Sweep(Component):
    """What every sweep has."""

    axis: ClassVar[str] = "sweep"
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
    retry_failed: bool = setting(False, "try runs again that failed when the command was given before", identity=False)


@register("sweep", "grid")
class Grid(Sweep):
    """Every combination of the values after commas."""


@register("sweep", "tuned")
class Tuned(Sweep):
    """Every combination, each with values of its own that were chosen on validation first, at equal budgets.

    Each combination of the grid, its seed aside, tries the same values over the same seeds: an equal budget.
    """

    tune: list[str] = setting(
        lambda: ["optimizer.lr_scale=0.1,0.3,1,3,10"], "words whose values are tried for each choice", identity=False
    )
    tune_seeds: list[int] | None = setting(
        None,
        f"seeds over which a value's validation top1 is averaged; null: {TUNING_SEED}, or those that the sweep's folder"
        " was tuned with",
        identity=False,
    )
    tune_at: str = setting(
        "best",
        "which validation top1 decides: that of the best epoch, or that of the last one",
        identity=False,
        among=("best", "last"),
    )
    bases: list[str] = setting(
        list,
        "words that a choice begins with, such as 'optimizer=sgd: optimizer.lr=0.3'; the values tried lie around them",
        identity=False,
    )
    extend: bool = setting(
        False,
        "where a choice is best at an end of the values, try the next one beyond, until the best lies inside",
        identity=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.tune:
            raise UsageError("sweep.tune must name what is tried, got []; give words, or sweep=grid")
        seeds = [TUNING_SEED] if self.tune_seeds is None else list(self.tune_seeds)
        if not seeds or len(set(seeds)) < len(seeds):
            raise UsageError(f"sweep.tune_seeds must name seeds, each once, got {seeds}")
        for seed in seeds:
            within("sweep.tune_seeds", seed, 0, 2**32 - 1)
        for base in self.bases:
            of, colon, words = base.partition(": ")
            if not (
                of.strip() and colon and words.strip() and all("=" in word for word in (*of.split(), *words.split()))
            ):
                raise UsageError(
                    f"sweep.bases must hold texts such as 'optimizer=sgd: optimizer.lr=0.3', got {base!r}; put what the"
                    " choice is before the colon, and its words after"
                )


@register("sweep", "optuna")
class Optuna(Sweep):
    """A search by Optuna for the best validation top1, over intervals and choices; install the extra "search".

    The sampler is Optuna's tree-structured Parzen estimator (Bergstra et al. 2011).
    """

    trials: int = setting(
        20, "trials in all, those of earlier starts of the command included", identity=False, at_least=1
    )
    sampler_seed: int = setting(0, "decides what the sampler draws", identity=False, at_least=0, at_most=2**32 - 1)
