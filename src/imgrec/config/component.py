"""What every part of a configuration has in common: a name, and values within their declared ranges."""

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING

from imgrec.config.fields import ranges


@dataclass(kw_only=True)
class Component(ABC):
    """One choice of an axis.

    Attributes:
        axis: The axis that it is a choice of.
        is_choice: False for a class whose named choices are files of conf/ alone (augment, trainer).
        name: What records and checkpoints call it.
    """

    axis: ClassVar[str]
    is_choice: ClassVar[bool] = True

    name: str = MISSING

    def __post_init__(self) -> None:
        """Refuse values outside of their declared ranges. Raises UsageError."""
        for name, known in ranges(type(self)).items():
            known.check(f"{self.axis}.{name}", getattr(self, name))
