"""Define schedule=constant."""

from imgrec.config.registry import register
from imgrec.config.schedule import Schedule


@register("schedule", "constant")
class Constant(Schedule):
    """The peak rate throughout."""

    def after_warmup(self, progress: float, step: int, total_steps: int) -> float:
        """See `Schedule`."""
        return 1.0
