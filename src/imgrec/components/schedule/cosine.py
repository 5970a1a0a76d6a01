"""Define schedule=cosine."""

from imgrec.config.fields import setting
from imgrec.config.registry import register
from imgrec.config.schedule import Schedule, half_cosine


@register("schedule", "cosine")
class Cosine(Schedule):
    """Half a cosine from the peak down to `final` (Loshchilov & Hutter 2017, without restarts)."""

    final: float = setting(0.0, "share of the peak that is left at the end", at_least=0, at_most=1)

    def after_warmup(self, progress: float, step: int, total_steps: int) -> float:
        """See `Schedule`."""
        return half_cosine(1.0, self.final, progress)
