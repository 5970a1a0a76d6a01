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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar, dataclass_transform

from imgrec.config.component import Component

C = TypeVar("C", bound=Component)

_ROOM = "imgrec.components"  # its modules are imported by name, so that no floor below knows them
_registered: dict[str, dict[str, type[Component]]] = {}


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
        known = _registered.setdefault(axis, {})
        if (other := known.get(name)) is not None and other.__qualname__ != cls.__qualname__:
            raise ValueError(f"{axis}={name} is {other.__module__}.{other.__qualname__} already; give another name")
        if cls.is_choice:
            cls.__annotations__ = {"name": str, **cls.__annotations__}
            cls.name = name
        known[name] = made = dataclass(kw_only=True)(cls)
        return made

    return add


def components(axis: str) -> Mapping[str, type[Component]]:
    """The components of an axis, in the order of their names; none for what is no axis."""
    _import_all()
    return MappingProxyType(dict(sorted(_registered.get(axis, {}).items())))


@functools.cache
def _import_all() -> None:
    """Import every module of the room of components. None of them imports torch before it builds something."""
    room = importlib.import_module(_ROOM)
    for module in pkgutil.walk_packages(room.__path__, f"{_ROOM}."):
        importlib.import_module(module.name)
