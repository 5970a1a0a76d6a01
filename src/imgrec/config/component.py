"""Define the base classes of all parts of a configuration: a name, and values within their declared ranges."""

import dataclasses
import importlib.util
from abc import ABC
from dataclasses import dataclass
from typing import Any, ClassVar

from omegaconf import MISSING

from imgrec.config.fields import ranges
from imgrec.errors import UsageError


@dataclass(kw_only=True)
class Component(ABC):
    """One choice of an axis.

    Attributes:
        axis: The axis of the choice.
        is_choice: False for a class whose named choices are only files of conf/ (augment, trainer).
        name: The component's name in records and checkpoints.
    """

    axis: ClassVar[str]
    is_choice: ClassVar[bool] = True

    name: str = MISSING

    def __post_init__(self) -> None:
        """Check the values against their declared ranges.

        Raises:
            UsageError: A value is outside of its range.
        """
        for name, known in ranges(type(self)).items():
            known.check(f"{self.prefix}.{name}", getattr(self, name))

    @classmethod
    def settings(cls) -> list[dataclasses.Field[Any]]:
        """Return the fields that a command can set: all but the name."""
        return [field for field in dataclasses.fields(cls) if field.name != "name"]

    @property
    def idle(self) -> frozenset[str]:
        """The settings that have no effect beside the others. They are no part of a run's identity."""
        return frozenset()

    @property
    def prefix(self) -> str:
        """The place of the component's keys in the configuration, such as `optimizer`."""
        return self.axis


@dataclass(kw_only=True)
class Listed(Component):
    """A component that a configuration selects by its name in a list, such as `callbacks=[gradient_norm]`.

    A list takes any number of components. The settings of each follow its axis and name:
    `callback.gradient_norm.every=10`.

    Attributes:
        package: A package that the component needs and imgrec does not, by the name under which it is imported.
        extra: The extra of imgrec that installs it.
    """

    package: ClassVar[str | None] = None
    extra: ClassVar[str] = ""

    @property
    def prefix(self) -> str:
        return f"{self.axis}.{self.name}"

    def check_here(self) -> None:
        """Refuse the component on a machine that lacks what it needs, before anything is made.

        Raises:
            UsageError: Its package is not installed.
        """
        if self.package is not None and importlib.util.find_spec(self.package) is None:
            raise UsageError(
                f"{self.axis}={self.name} needs the package {self.package}, which is not installed; in the clone,"
                f" pip install -e '.[{self.extra}]', or leave {self.name} out of the {self.axis}s"
            )
