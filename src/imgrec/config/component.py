"""What every part of a configuration has in common: a name, and values within their declared ranges."""

import dataclasses
from abc import ABC
from dataclasses import dataclass
from typing import Any, ClassVar

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
            known.check(f"{self.prefix}.{name}", getattr(self, name))

    @classmethod
    def settings(cls) -> list[dataclasses.Field[Any]]:
        """The fields that a command may give: all but the name."""
        return [field for field in dataclasses.fields(cls) if field.name != "name"]

    @property
    def prefix(self) -> str:
        """Where its keys stand in the configuration, such as `optimizer`."""
        return self.axis


@dataclass(kw_only=True)
class Listed(Component):
    """A component of which a configuration has any number, by name in a list: `callbacks=[gradient_norm]`.

    The settings of each stand below its axis and its name: `callback.gradient_norm.every=10`.
    """

    @property
    def prefix(self) -> str:
        return f"{self.axis}.{self.name}"
