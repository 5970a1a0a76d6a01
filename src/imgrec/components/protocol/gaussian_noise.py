"""Define protocol=gaussian_noise."""

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from imgrec.config.fields import setting
from imgrec.config.protocol import Protocol
from imgrec.config.registry import register
from imgrec.errors import UsageError

if TYPE_CHECKING:
    from imgrec.config.protocol import Measure


@register("protocol", "gaussian_noise")
class GaussianNoise(Protocol):
    """Gaussian noise on the images, a row of scores for each deviation (Hendrycks & Dietterich 2019)."""

    rows_from: ClassVar[str] = "sigmas"
    sigmas: list[float] = setting(
        lambda: [0.04, 0.06, 0.08, 0.09, 0.1],
        "standard deviations in shares of the pixel range; the default: severities 1 to 5 of CIFAR-10-C",
        at_least=0,
    )
    seed: int = setting(0, "decides the draws", at_least=0, at_most=2**32 - 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sigmas or len({f"{sigma:g}" for sigma in self.sigmas}) < len(self.sigmas):  # as rows are named
            raise UsageError(f"{self.prefix}.sigmas must name deviations, each once, got {list(self.sigmas)}")

    def build(self) -> "Measure":
        """See `protocols.gaussian_noise`."""
        from imgrec import protocols

        return partial(protocols.gaussian_noise, sigmas=tuple(self.sigmas), seed=self.seed)
