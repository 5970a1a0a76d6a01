"""The loss axis. Every loss takes class indices or class probabilities as targets."""

from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING

from imgrec.config.fields import above, at_least, below, setting


@dataclass(kw_only=True)
class Loss:
    """What every loss has. gives_probabilities: True if the softmax of its outputs estimates probabilities."""

    gives_probabilities: ClassVar[bool] = True

    name: str = MISSING


@dataclass(kw_only=True)
class CrossEntropy(Loss):
    """Negative log-likelihood of the softmax."""

    name: str = "cross_entropy"


@dataclass(kw_only=True)
class LabelSmoothing(Loss):
    """Cross-entropy against targets mixed with the uniform distribution (Szegedy et al. 2016, section 7)."""

    name: str = "label_smoothing"
    smoothing: float = setting(0.1, "share of the target spread over all classes (Szegedy et al. 2016, section 7)")

    def __post_init__(self) -> None:
        below("loss.smoothing", self.smoothing, 0, 1)


@dataclass(kw_only=True)
class Mse(Loss):
    """Square loss on the logits against one-hot targets (Hui & Belkin 2020)."""

    gives_probabilities: ClassVar[bool] = False

    name: str = "mse"
    true_weight: float = setting(1.0, "weight of the true class' term: k of Hui & Belkin 2020; 1 below 42 classes")
    true_value: float = setting(1.0, "value that the true class' logit aims at: M of Hui & Belkin 2020")

    def __post_init__(self) -> None:
        above("loss.true_weight", self.true_weight, 0)
        above("loss.true_value", self.true_value, 0)


@dataclass(kw_only=True)
class Brier(Loss):
    """Squared distance between the softmax and the target (Brier 1950)."""

    name: str = "brier"


@dataclass(kw_only=True)
class Focal(Loss):
    """Cross-entropy weighted by (1 - p)^gamma (Lin et al. 2017)."""

    name: str = "focal"
    gamma: float = setting(2.0, "how strongly easy examples are weighed down; 0 is cross-entropy (Lin et al. 2017)")

    def __post_init__(self) -> None:
        at_least("loss.gamma", self.gamma, 0)


@dataclass(kw_only=True)
class Hinge(Loss):
    """Multi-class hinge (Crammer & Singer 2001)."""

    gives_probabilities: ClassVar[bool] = False

    name: str = "hinge"
    margin: float = setting(1.0, "distance by which the true class' logit should lead")

    def __post_init__(self) -> None:
        above("loss.margin", self.margin, 0)
