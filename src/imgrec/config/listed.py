"""Handle lists of components in a configuration: `callbacks=[a,b]`, with the settings of `a` below `callback.a`."""

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from imgrec.config.component import Listed
from imgrec.config.fields import choice, default_of, is_identity
from imgrec.config.overrides import key_of
from imgrec.config.registry import components
from imgrec.errors import UsageError

LISTS: Mapping[str, str] = {"protocol": "test_protocols", "callback": "callbacks", "logger": "loggers"}
"""Each axis whose components are listed, with the key that lists their names."""


def named(axis: str, names: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the components that a list names, in the order of the list.

    Args:
        axis: One of LISTS.
        names: The names in the list.
        settings: Components by their names. A component that is missing here has its defaults.

    Raises:
        UsageError: A name is unknown or given twice, or what should be settings of a component is something else.
    """
    key, known = LISTS[axis], components(axis)
    for name in names:
        if not isinstance(name, str):
            raise UsageError(f"{key} must hold names, got {name!r}; write {key}=[{','.join(known)}], say")
        choice(key, name, list(known), "one of your own needs --components FILE")
    if len(set(names)) < len(names):
        raise UsageError(f"{key} must name each {axis} once, got {list(names)}")
    for name, component in settings.items():
        if name in known and not isinstance(component, known[name]):
            raise UsageError(f"{axis}.{name} must have its settings below it, got {component!r}; drop it")
        if name in known and component.name != name:
            raise UsageError(f"{axis}.{name}.name must be {name}, got {component.name!r}; drop it")
    return {name: settings[name] if name in settings else known[name]() for name in names}


def refuse_idle(overrides: Sequence[str], names: Mapping[str, Collection[str]]) -> None:
    """Refuse words that set a value of a component which no list names, as nothing would read it.

    Args:
        overrides: The words of a command.
        names: The names that the lists hold, by axis.

    Raises:
        UsageError: There is such a word.
    """
    for text in overrides:
        axis, _, rest = key_of(text).partition(".")
        name = rest.partition(".")[0]
        if axis in LISTS and rest and name not in names[axis]:
            named_with = ",".join([*names[axis], name])
            raise UsageError(f"{text} has no effect without {LISTS[axis]}=[{named_with}]; add that, or drop it")


def changed(component: Listed) -> dict[str, Any]:
    """Return the settings of a component that differ from their defaults."""
    values = {field.name: (getattr(component, field.name), default_of(field)) for field in component.settings()}
    return {name: value for name, (value, default) in values.items() if value != default}


def without(rows: Mapping[str, Any], gone: Collection[str]) -> dict[str, Any]:
    """Return a flat configuration without some listed components and their settings.

    Where no protocol is left, it is measured as clean.

    Args:
        rows: The configuration as `serialize.flat` returns it.
        gone: The components as `axis=name`; those of other axes are ignored.
    """
    places = {tuple(key.split("=", 1)) for key in gone if key.partition("=")[0] in LISTS}
    kept = {key: value for key, value in rows.items() if tuple(key.split(".")[:2]) not in places}
    for axis, key in LISTS.items():
        if key in kept:
            kept[key] = [name for name in kept[key] if (axis, name) not in places]
    if kept.get(LISTS["protocol"]) == []:
        kept[LISTS["protocol"]] = ["clean"]
    return kept


def flat(axis: str, found: Mapping[str, Listed]) -> Iterator[tuple[str, Any]]:
    """Yield the settings of components with their dotted keys, such as `callback.gradient_norm.every`."""
    for name, component in found.items():
        for field in component.settings():
            yield f"{axis}.{name}.{field.name}", getattr(component, field.name)


def essence(axis: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are part of a run's identity, by dotted keys, without callbacks that only observe."""
    rows: dict[str, Any] = {}
    for name, component in found.items():
        if not getattr(component, "observes", False):
            identity = {field.name for field in component.settings() if is_identity(field)}
            rows |= {f"{axis}.{name}.{leaf}": value for leaf, value in changed(component).items() if leaf in identity}
    return rows


def schema_of(place: str) -> type[Listed] | None:
    """Return the component of a place such as `callback.gradient_norm`; None if there is none."""
    axis, _, name = place.partition(".")
    found = components(axis).get(name) if axis in LISTS else None
    return found if found is not None and issubclass(found, Listed) else None


def settings() -> Iterator[tuple[str, dataclasses.Field[Any]]]:
    """Yield every dotted key of all listed components, with its field."""
    for axis in LISTS:
        for name, schema in components(axis).items():
            for field in schema.settings():
                yield f"{axis}.{name}.{field.name}", field
