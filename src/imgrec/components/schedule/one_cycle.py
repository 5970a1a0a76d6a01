"""Define schedule=one_cycle."""

from imgrec.config.fields import setting
from imgrec.config.registry import register
from imgrec.config.schedule import Schedule, half_cosine
from imgrec.errors import UsageError


@register("schedule", "one_cycle")
class OneCycle(Schedule):
    """Up to the peak and down again along half cosines (Smith & Topin 2018; the rate of PyTorch's OneCycleLR)."""

    peak_at: float = setting(0.3, "share of all steps after which the peak is reached", above=0, at_most=1)
    start: float = setting(0.04, "share of the peak at the first step (PyTorch: 1/25)", at_least=0, at_most=1)
    final: float = setting(4e-6, "share of the peak at the last step (PyTorch: 1/25 of 1e-4)", at_least=0, at_most=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup:
            raise UsageError(f"schedule.warmup must be 0 with one_cycle, which warms up by itself, got {self.warmup}")

    def after_warmup(self, progress: float, step: int, total_steps: int) -> float:
        """Return the rate of PyTorch's OneCycleLR with anneal_strategy=cos.

        Its peak is at step peak_at * total_steps - 1.
        """
        peak, last = self.peak_at * total_steps - 1, total_steps - 1
        step = min(step, last)
        if step <= peak:
            return half_cosine(self.start, 1.0, step / peak if peak > 0 else 1.0)
        return half_cosine(1.0, self.final, (step - peak) / (last - peak))
