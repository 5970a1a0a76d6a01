"""Convert a configuration to plain containers, for records and checkpoints, and back."""

import dataclasses
import functools
import re
import types
import typing
from typing import Any, cast

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from imgrec.config import listed
from imgrec.config.explain import explained, unknown_key
from imgrec.config.fields import default_of
from imgrec.config.listed import LISTS
from imgrec.config.registry import components
from imgrec.config.root import AXES, GROUPS, SECTIONS, Config
from imgrec.errors import UsageError

_Plain = str | int | float | bool | None
_BEFORE = {"launcher": "basic", "sweep": "grid"}  # the choices of runs whose records do not name them
# the root (""), each axis, and each listed component (`callback.NAME`): its dataclass and its values
_Sections = dict[str, tuple[type[Any], dict[str, Any]]]


def flat(config: Config) -> dict[str, Any]:
    """Return the complete configuration with dotted keys and plain values, as records store it."""
    rows: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in LISTS:
            rows.update(listed.flat(field.name, value))
        elif dataclasses.is_dataclass(value):
            rows.update(
                {f"{field.name}.{inner.name}": getattr(value, inner.name) for inner in dataclasses.fields(value)}
            )
        else:
            rows[field.name] = value
    return rows


def to_yaml(config: Config) -> str:
    """Return the resolved configuration as YAML, one block per axis."""
    return OmegaConf.to_yaml(OmegaConf.create(dataclasses.asdict(config)))


def from_flat(rows: dict[str, Any]) -> Config:
    """Return the configuration that `flat` wrote, checked again. The names select only known dataclasses.

    Keys that this version does not know are refused. Keys that the stored configuration lacks take their defaults.
    """
    for key in rows:
        if key in SECTIONS:
            raise UsageError(f"{key} must be stored as dotted keys ({key}.name, ...), got {rows[key]!r}")
        if "." in key and key.partition(".")[0] not in SECTIONS:
            raise unknown_key(key, Config)
    roots = {key: value for key, value in rows.items() if "." not in key}
    _refuse_unknown(Config, roots, "")
    sections: _Sections = {"": (Config, roots)}
    for axis in GROUPS:
        values = {key.partition(".")[2]: value for key, value in rows.items() if key.startswith(f"{axis}.")}
        if not values and axis not in AXES:  # an older version wrote it
            values = {"name": _BEFORE[axis]}
        sections[axis] = _schema(axis, values), values
        _refuse_unknown(*sections[axis], f"{axis}.")
    for key in rows:
        if key.partition(".")[0] in LISTS:
            place, _, leaf = key.rpartition(".")
            if (listing := listed.schema_of(place)) is None or leaf == "name":
                raise unknown_key(key, Config)
            sections.setdefault(place, (listing, {}))[1][leaf] = rows[key]
            _refuse_unknown(*sections[place], f"{place}.")
    if all(_fits(schema, values) for schema, values in sections.values()):
        made = {place: schema(**_copied(values)) for place, (schema, values) in sections.items() if place}
        return Config(**_copied(roots), **_nested(made))
    return _converted(sections)


def _nested(found: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of Config: the value at `callback.NAME` goes into a dictionary `callback`."""
    fields: dict[str, Any] = {}
    for place, value in found.items():
        axis, dot, name = place.partition(".")
        if dot:
            fields.setdefault(axis, {})[name] = value
        else:
            fields[axis] = value
    return fields


def _copied(values: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of the values that shares no list with the original."""
    return {key: list(value) if isinstance(value, list) else value for key, value in values.items()}


def _schema(axis: str, values: dict[str, Any]) -> type[Any]:
    """Return the dataclass of the axis' choice.

    Raises:
        UsageError: The choice is unknown.
    """
    schemas = components(axis)
    name = str(values.get("name"))
    schema = next(iter(schemas.values())) if len(schemas) == 1 else schemas.get(name)
    if schema is None:
        raise UsageError(f"{axis}.name must be one of {', '.join(schemas)}, got {name!r}")
    return schema


def _refuse_unknown(schema: type[Any], values: dict[str, Any], prefix: str) -> None:
    known = {field.name for field in dataclasses.fields(schema)}
    for key in values:
        if key not in known:
            raise unknown_key(f"{prefix}{key}", schema)


def _fits(schema: type[Any], values: dict[str, Any]) -> bool:
    """Return True if every value has exactly its field's type and none is missing, so that no conversion is needed."""
    types = _types(schema)  # type: ignore[arg-type] # a class is hashable
    given = all(_is(value, types[key]) for key, value in values.items())
    return given and all(field.name in values or not _is_required(field) for field in dataclasses.fields(schema))


@functools.cache
def _types(schema: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(schema)


def _is(value: Any, kind: Any) -> bool:
    if kind is Any:
        kind = list[_Plain] if type(value) is list else _Plain
    if typing.get_origin(kind) is list:
        return type(value) is list and all(_is(inner, typing.get_args(kind)[0]) for inner in value)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return any(_is(value, option) for option in typing.get_args(kind))
    return type(value) is kind and value != MISSING


def _is_required(field: dataclasses.Field[Any]) -> bool:
    """Return True if the field has no default. The root's fields of components do not count, as they are always set."""
    return field.name not in SECTIONS and default_of(field) == MISSING


def _converted(sections: _Sections) -> Config:
    """Return the configuration from values that OmegaConf converts (1 or "0.1" for a float) or refuses."""
    made = _structured(*sections[""], "")
    for field, value in _nested(
        {place: _structured(*sections[place], f"{place}.") for place in sections if place}
    ).items():
        made[field] = value
    try:
        return cast(Config, OmegaConf.to_object(made))
    except OmegaConfBaseException as error:
        raise explained(error) from error


def _structured(schema: type[Any], values: dict[str, Any], prefix: str) -> DictConfig:
    try:
        return cast(DictConfig, OmegaConf.merge(OmegaConf.structured(schema), _literal(values)))
    except OmegaConfBaseException as error:
        raise UsageError(f"{prefix}{error.full_key}: {str(error.msg or error).splitlines()[0]}") from error


def _literal(value: Any) -> Any:
    """Return the value in a form that OmegaConf takes literally: a stored ${...} is text and is not resolved."""
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    if isinstance(value, list):
        return [_literal(inner) for inner in value]
    if isinstance(value, dict):
        return {key: _literal(inner) for key, inner in value.items()}
    return value
