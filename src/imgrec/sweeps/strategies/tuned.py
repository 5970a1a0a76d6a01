"""Define sweep=tuned."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from imgrec.config.fields import setting, within
from imgrec.config.registry import register
from imgrec.config.sweep import Sweep
from imgrec.errors import UsageError

if TYPE_CHECKING:
    from imgrec.sweeps.strategy import Strategy

TUNING_SEED = 100  # far from 0, 1, 2, ..., the usual seeds of final runs


@register("sweep", "tuned")
class Tuned(Sweep):
    """Every combination, each with values of its own that were chosen on validation first, at equal budgets.

    Each combination of the grid, its seed aside, tries the same values over the same seeds: an equal budget.
    """

    chooses: ClassVar[bool] = True
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

    @property
    def tries(self) -> Sequence[str]:
        return self.tune

    def build(self) -> "Strategy":
        """See `sweep.tuning`."""
        from imgrec.sweeps import tuning

        return tuning.TunedGrid(self)
