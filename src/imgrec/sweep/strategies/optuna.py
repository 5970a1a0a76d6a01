"""Define sweep=optuna."""

from typing import TYPE_CHECKING, ClassVar

from imgrec.config.fields import setting
from imgrec.config.registry import register
from imgrec.config.sweep import Sweep

if TYPE_CHECKING:
    from imgrec.sweep.strategy import Strategy


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
    sampler_seed: int = setting(0, "decides what the sampler draws", identity=False, at_least=0, at_most=2**32 - 1)

    def build(self) -> "Strategy":
        """See `sweep.search`."""
        from imgrec.sweep import search

        return search.Search(self)
