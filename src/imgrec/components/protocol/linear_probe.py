"""Define protocol=linear_probe."""

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from imgrec.config.fields import setting
from imgrec.config.protocol import Protocol
from imgrec.config.registry import register

if TYPE_CHECKING:
    from imgrec.config.protocol import Learner


@register("protocol", "linear_probe")
class LinearProbe(Protocol):
    """A linear classifier of the features, fitted on the training images (Alain & Bengio 2017, arXiv 1610.01644)."""

    learns: ClassVar[bool] = True
    l2: float = setting(1.0, "weight of half the squared norm, beside the sum of the losses", above=0)
    max_iter: int = setting(1000, "iterations of L-BFGS at most", at_least=1)

    def build(self) -> "Learner":
        """See `protocols.linear_probe`."""
        from imgrec import protocols

        return partial(protocols.linear_probe, l2=self.l2, max_iter=self.max_iter)
