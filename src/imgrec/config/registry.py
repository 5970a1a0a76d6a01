"""Register the components that a configuration selects by name: losses, networks, optimizers and so on.

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

# the modules of these packages are imported by name, so that no lower layer depends on them
_PACKAGES = (
    "imgrec.components",
    "imgrec.sweep.launchers",
    "imgrec.sweep.strategies",
    "imgrec.training.callbacks",
    "imgrec.training.loggers",
)
FILES = "imgrec_components_"  # prefix of the names of modules that are created from the user's files
_registered: dict[str, dict[str, type[Component]]] = {}
_changes = 0


@dataclass_transform(kw_only_default=True)  # type checkers treat `setting` as an ordinary default
def register(axis: str, name: str) -> Callable[[type[C]], type[C]]:
    """Register a class as the component of `axis=name`, and make it a dataclass with keyword-only arguments.

    Args:
        axis: The axis of the configuration, such as `loss`.
        name: The component's name in configurations, records and checkpoints.

    Raises:
        ValueError: The axis has a component of this name already.
    """

    def add(cls: type[C]) -> type[C]:
        if not isinstance(cls.axis, str):
            raise ValueError(f"@register({axis!r}, {name!r}): axis and name are taken; rename the setting")
        if cls.axis != axis:
            raise ValueError(f"@register({axis!r}, {name!r}) stands before a class of the axis {cls.axis}")
        if cls.__module__.partition(".")[0] != "imgrec":
            _import_all()  # imgrec's own names are taken
        known = _registered.setdefault(axis, {})
        other = known.get(name)
        if other is not None and (
            (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__)
            or cls.__module__.startswith(FILES)  # a program may define a class again, but a file may not
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
    """Return the components of an axis, sorted by name; none for an unknown axis."""
    _import_all()
    return MappingProxyType(dict(sorted(_registered.get(axis, {}).items())))


def generation() -> int:
    """Return a number that changes whenever a component is added, removed or redefined."""
    _import_all()
    return _changes


def forget(classes: Collection[type]) -> None:
    """Remove these components, as the code that registered them has failed."""
    for known in _registered.values():
        for name in [name for name, cls in known.items() if cls in classes]:
            del known[name]
            _count()


def _count() -> None:
    global _changes
    _changes += 1


@functools.cache
def _import_all() -> None:
    """Import every module of the component packages. No module imports torch before a component builds something."""
    for name in _PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            importlib.import_module(module.name)
