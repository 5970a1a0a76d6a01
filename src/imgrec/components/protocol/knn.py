"""Define protocol=knn."""

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from imgrec.config.fields import setting
from imgrec.config.protocol import Protocol
from imgrec.config.registry import register

if TYPE_CHECKING:
    from imgrec.config.protocol import Learner, Measure
    from imgrec.protocols import Known


@register("protocol", "knn")
class Knn(Protocol):
    """The votes of the training images with the nearest features (Wu et al. 2018, arXiv 1805.01978, section 3.4)."""

    learns: ClassVar[bool] = True
    k: int = setting(200, "nearest training images that vote; all if there are fewer (Wu et al. 2018)", at_least=1)
    temperature: float = setting(0.07, "a vote weighs exp(cosine / temperature) (Wu et al. 2018)", above=0)

    def build(self) -> "Learner":
        """See `protocols.knn`."""
        from imgrec import protocols

        def learned(known: "Known") -> "Measure":
            return partial(protocols.knn, known=known, k=self.k, temperature=self.temperature)

        return learned
