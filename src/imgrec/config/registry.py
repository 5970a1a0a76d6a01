"""Which component stands behind which name: the losses, networks, optimizers and so on that a configuration picks from.

A component registers itself where it is defined:

    @register("loss", "focal")
    class Focal(Loss):
        \"\"\"Cross-entropy weighted by (1 - p)^gamma (Lin et al. 2017).\"\"\"

        gamma: float = setting(2.0, "how strongly easy examples are weighed down", at_least=0)

        def build(self) -> LossFunction: ...
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar, dataclass_transform

from imgrec.config.component import Component

C = TypeVar("C", bound=Component)

# the modules of these rooms are imported by name, so that no floor below knows them
_ROOMS = (
    "imgrec.components",
    "imgrec.sweep.launchers",
    "imgrec.sweep.strategies",
    "imgrec.training.callbacks",
    "imgrec.training.loggers",
)
FILES = "imgrec_components_"  # what the names of modules begin with that are made of the user's files
_registered: dict[str, dict[str, type[Component]]] = {}
_changes = 0


@dataclass_transform(kw_only_default=True)  # `setting` stands for a default like any other value
def register(axis: str, name: str) -> Callable[[type[C]], type[C]]:
    """Make a class the component that `axis=name` picks, and a dataclass with keyword arguments alone.

    Args:
        axis: The axis of the configuration, such as `loss`.
        name: The component's name in configurations, records and checkpoints.

    Raises:
        ValueError: The axis has a component of this name already.
    """

    def add(cls: type[C]) -> type[C]:
        if cls.axis != axis:
            raise ValueError(f"@register({axis!r}, {name!r}) stands before a class of the axis {cls.axis}")
        if cls.__module__.partition(".")[0] != "imgrec":
            _import_all()  # their names are taken
        known = _registered.setdefault(axis, {})
        other = known.get(name)
        if other is not None and (
            (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__)
            or cls.__module__.startswith(FILES)  # a program may define a class anew, and a file has each once
        ):
            where = "another class of this file" if other.__module__ == cls.__module__ else other.__module__
            raise ValueError(f"{axis}={name} must be a name that is free, and {where} has it; give another one")
        if cls.is_choice:
            cls.__annotations__ = {"name": str, **cls.__annotations__}
            cls.name = name
        known[name] = made = dataclass(kw_only=True)(cls)
        _count()
        return made

    return add


def components(axis: str) -> Mapping[str, type[Component]]:
    """The components of an axis, in the order of their names; none for what is no axis."""
    _import_all()
    return MappingProxyType(dict(sorted(_registered.get(axis, {}).items())))


def generation() -> int:
    """A number that changes with each component that comes, goes, or is defined anew."""
    _import_all()
    return _changes


def forget(classes: Collection[type]) -> None:
    """Take these components out again: the code that registered them could not be run to its end."""
    for known in _registered.values():
        for name in [name for name, cls in known.items() if cls in classes]:
            del known[name]
            _count()


def _count() -> None:
    global _changes
    _changes += 1


@functools.cache
def _import_all() -> None:
    """Import every module of the rooms of components. None of them imports torch before it builds something."""
    for name in _ROOMS:
        room = importlib.import_module(name)
        for module in pkgutil.walk_packages(room.__path__, f"{name}."):
            importlib.import_module(module.name)
