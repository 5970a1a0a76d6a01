"""Define sweep=optuna."""

from typing import TYPE_CHECKING, ClassVar

from imgrec.config.fields import setting
from imgrec.config.registry import register
from imgrec.config.sweep import Sweep

if TYPE_CHECKING:
    from imgrec.sweeps.strategy import Strategy


@register("sweep", "optuna")
class Optuna(Sweep):
    """A search by Optuna for the best validation top1, over intervals and choices; install the extra "search".

    The sampler is Optuna's tree-structured Parzen estimator (Bergstra et al. 2011).
    """

    chooses: ClassVar[bool] = True
    proposes: ClassVar[bool] = True
    trials: int = setting(
        20, "trials in all, those of earlier starts of the command included", identity=False, at_least=1
    )
    pruner: str = setting(
        "none",
        "none: each trial runs to its end; asha: asynchronous successive halving (Li et al. 2020) ends trials early"
        " whose validation top1 is not among the best at the same epoch",
        identity=False,
        among=("none", "asha"),
    )
    min_epochs: int = setting(1, "asha: epochs that each trial has at least", identity=False, at_least=1)
    reduction_factor: int = setting(
        4,
        "asha: of so many trials at an epoch one goes on; it is asked at min_epochs times its powers",
        identity=False,
        at_least=2,
    )
    sampler_seed: int = setting(0, "decides what the sampler draws", identity=False, at_least=0, at_most=2**32 - 1)

    @property
    def ends_runs_early(self) -> bool:
        """See `Sweep`."""
        return self.pruner != "none"

    def build(self) -> "Strategy":
        """See `sweep.search`."""
        from imgrec.sweeps import search

        return search.Search(self)
