"""Lists of components in a configuration: `callbacks=[a,b]`, with the settings of each below `callback.a` and so on."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from imgrec.config.component import Listed
from imgrec.config.fields import choice, default_of, is_identity
from imgrec.config.registry import components
from imgrec.errors import UsageError

LISTS: Mapping[str, str] = {"protocol": "test_protocols", "callback": "callbacks", "logger": "loggers"}
"""Each axis of such components, with the key of the configuration that lists its names."""


def named(axis: str, names: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the components that a list names, in its order.

    Args:
        axis: One of LISTS.
        names: What the list holds.
        settings: Components by their names; those that lack here have their defaults.

    Raises:
        UsageError: A name is unknown or stands twice, or settings belong to a component that the list does not name.
    """
    key, known = LISTS[axis], components(axis)
    for name in names:
        choice(key, name, list(known))
    if len(set(names)) < len(names):
        raise UsageError(f"{key} must name each {axis} once, got {list(names)}")
    for name, component in settings.items():
        if name not in names and (given := changed(component)):
            leaf, value = next(iter(given.items()))
            raise UsageError(
                f"{axis}.{name}.{leaf}={value} has no effect without {key}=[{','.join([*names, name])}]; add that, or"
                " drop it"
            )
    return {name: settings[name] if name in settings else known[name]() for name in names}


def changed(component: Listed) -> dict[str, Any]:
    """The settings of a component that differ from their defaults."""
    values = {field.name: (getattr(component, field.name), default_of(field)) for field in component.settings()}
    return {name: value for name, (value, default) in values.items() if value != default}


def flat(axis: str, found: Mapping[str, Listed]) -> Iterator[tuple[str, Any]]:
    """The settings of components with their dotted keys, such as `callback.gradient_norm.every`."""
    for name, component in found.items():
        for field in component.settings():
            yield f"{axis}.{name}.{field.name}", getattr(component, field.name)


def essence(axis: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that belong to what a run is, by their dotted keys, without callbacks that only observe."""
    rows: dict[str, Any] = {}
    for name, component in found.items():
        if not getattr(component, "observes", False):
            identity = {field.name for field in component.settings() if is_identity(field)}
            rows |= {f"{axis}.{name}.{leaf}": value for leaf, value in changed(component).items() if leaf in identity}
    return rows


def schema_of(place: str) -> type[Listed] | None:
    """The component whose settings stand at `callback.gradient_norm`, say; None where there is none."""
    axis, _, name = place.partition(".")
    found = components(axis).get(name) if axis in LISTS else None
    return found if found is not None and issubclass(found, Listed) else None


def settings() -> Iterator[tuple[str, dataclasses.Field[Any]]]:
    """Every dotted key of all such components, with its field."""
    for axis in LISTS:
        for name, schema in components(axis).items():
            for field in schema.settings():
                yield f"{axis}.{name}.{field.name}", field
