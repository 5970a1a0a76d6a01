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
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar, dataclass_transform

from imgrec.config.component import Component
from imgrec.config.fields import check_defaults
from imgrec.errors import UsageError, shown

C = TypeVar("C", bound=Component)

# the modules of these packages are imported by name, so that no lower layer depends on them
_PACKAGES = (
    "imgrec.components",
    "imgrec.sweeps.launchers",
    "imgrec.sweeps.strategies",
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
        UsageError: The axis has a component of this name already, the class is of another axis, or a default is not of
            its setting's type or range.
    """

    def add(cls: type[C]) -> type[C]:
        told = f"@register({axis!r}, {name!r})"
        if not isinstance(cls.axis, str):
            raise UsageError(f"{told}: a setting must not be called axis or name", way_out="rename it")
        if cls.axis != axis:
            raise UsageError(
                f"{told} must stand before a class of the axis {axis}, and {cls.__name__} is of the axis {cls.axis}",
                way_out="change one of the two",
            )
        if cls.__module__.partition(".")[0] != "imgrec":
            _import_all()  # imgrec's own names are taken
        known = _registered.setdefault(axis, {})
        other = known.get(name)
        if other is not None and (
            (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__)
            or cls.__module__.startswith(FILES)  # a program may define a class again, but a file may not
        ):
            where = "another class of this file" if other.__module__ == cls.__module__ else place_of(other)
            raise UsageError(
                f"{axis}={name} must be a name that is free, and {where} has it", way_out="give another one"
            )
        if cls.is_choice:
            cls.__annotations__ = {"name": str, **cls.__annotations__}
            cls.name = name
        made = dataclass(kw_only=True)(cls)
        try:
            check_defaults(made)
        except UsageError as error:
            raise UsageError(f"{told}: {error.reason}", way_out=error.way_out) from error
        known[name] = made
        _count()
        return made

    return add


def place_of(component: type) -> str:
    """Return where a component is defined, as people know it: the user's file, or the name of a module."""
    module = component.__module__
    path = getattr(sys.modules.get(module), "__file__", None) if module.startswith(FILES) else None
    return shown(path) if path else module


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
