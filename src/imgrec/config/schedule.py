"""The schedule axis: the learning rate as a share of its peak, step by step.

Times are shares of all optimizer steps, so that a run of one epoch is a valid run.
"""

from dataclasses import dataclass

from omegaconf import MISSING

from imgrec.config.fields import above, below, setting, within
from imgrec.errors import UsageError


@dataclass(kw_only=True)
class Schedule:
    """What every schedule has."""

    name: str = MISSING
    warmup: float = setting(0.0, "share of all steps in which the rate climbs linearly from 0 to its peak")

    def __post_init__(self) -> None:
        below("schedule.warmup", self.warmup, 0, 1)


@dataclass(kw_only=True)
class Constant(Schedule):
    """The peak rate throughout."""

    name: str = "constant"


@dataclass(kw_only=True)
class Step(Schedule):
    """Falls by a factor at milestones (He et al. 2016, section 4.2: a tenth at 1/2 and 3/4 of the training)."""

    name: str = "step"
    milestones: list[float] = setting(lambda: [0.5, 0.75], "shares of all steps at which the rate falls, ascending")
    gamma: float = setting(0.1, "factor of every fall")

    def __post_init__(self) -> None:
        super().__post_init__()
        for milestone in self.milestones:
            within("schedule.milestones", milestone, 0, 1)
        if sorted(self.milestones) != list(self.milestones):
            raise UsageError(f"schedule.milestones must ascend, got {list(self.milestones)}")
        within("schedule.gamma", self.gamma, 0, 1)


@dataclass(kw_only=True)
class Cosine(Schedule):
    """Half a cosine from the peak down to `final` (Loshchilov & Hutter 2017, without restarts)."""

    name: str = "cosine"
    final: float = setting(0.0, "share of the peak that is left at the end")

    def __post_init__(self) -> None:
        super().__post_init__()
        within("schedule.final", self.final, 0, 1)


@dataclass(kw_only=True)
class Linear(Schedule):
    """A straight line from the peak down to `final`."""

    name: str = "linear"
    final: float = setting(0.0, "share of the peak that is left at the end")

    def __post_init__(self) -> None:
        super().__post_init__()
        within("schedule.final", self.final, 0, 1)


@dataclass(kw_only=True)
class OneCycle(Schedule):
    """Up to the peak and down again along half cosines (Smith & Topin 2018; the rate of PyTorch's OneCycleLR)."""

    name: str = "one_cycle"
    peak_at: float = setting(0.3, "share of all steps after which the peak is reached")
    start: float = setting(0.04, "share of the peak at the first step (PyTorch: 1/25)")
    final: float = setting(4e-6, "share of the peak at the last step (PyTorch: 1/25 of 1e-4)")

    def __post_init__(self) -> None:
        super().__post_init__()
        above("schedule.peak_at", self.peak_at, 0)
        within("schedule.peak_at", self.peak_at, 0, 1)
        within("schedule.start", self.start, 0, 1)
        within("schedule.final", self.final, 0, 1)
        if self.warmup:
            raise UsageError(f"schedule.warmup must be 0 with one_cycle, which warms up by itself, got {self.warmup}")
