"""Define schedule=step."""

from imgrec.config.fields import setting
from imgrec.config.registry import register
from imgrec.config.schedule import Schedule
from imgrec.errors import UsageError


@register("schedule", "step")
class Step(Schedule):
    """Falls by a factor at milestones (He et al. 2016, section 4.2: a tenth at 1/2 and 3/4 of the training)."""

    milestones: list[float] = setting(
        lambda: [0.5, 0.75], "shares of all steps at which the rate falls, ascending", at_least=0, at_most=1
    )
    gamma: float = setting(0.1, "factor of every fall", at_least=0, at_most=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if sorted(self.milestones) != list(self.milestones):
            raise UsageError(f"schedule.milestones must ascend, got {list(self.milestones)}")

    def after_warmup(self, progress: float, step: int, total_steps: int) -> float:
        """See `Schedule`."""
        # rounded, as 0.55 * 100 is 55.00000000000001 in floating point, which would delay the fall by a step
        passed = sum(step >= round(milestone * total_steps) for milestone in self.milestones)
        return float(self.gamma**passed)
