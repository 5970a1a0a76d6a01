"""Define schedule=linear."""

from imgrec.config.fields import setting
from imgrec.config.registry import register
from imgrec.config.schedule import Schedule


@register("schedule", "linear")
class Linear(Schedule):
    """A straight line from the peak down to `final`."""

    final: float = setting(0.0, "share of the peak that is left at the end", at_least=0, at_most=1)

    def after_warmup(self, progress: float, step: int, total_steps: int) -> float:
        """See `Schedule`."""
        return 1.0 + (self.final - 1.0) * progress
