"""The configuration as plain containers, for records and checkpoints, and back."""

import dataclasses
import functools
import re
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

_BEFORE = {"launcher": "basic", "sweep": "grid"}  # what runs had before records named them
# the root (""), each axis, and each listed component (`callback.NAME`): its dataclass and its values
_Sections = dict[str, tuple[type[Any], dict[str, Any]]]


def flat(config: Config) -> dict[str, Any]:
    """The complete configuration with dotted keys and plain values, as records store it."""
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
    """The resolved configuration as YAML, an axis a block."""
    return OmegaConf.to_yaml(OmegaConf.create(dataclasses.asdict(config)))


def from_flat(rows: dict[str, Any]) -> Config:
    """The configuration that `flat` wrote, checked anew. The names pick among the known dataclasses only.

    Keys that this version does not know are refused; keys that the writer did not know take their defaults.
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
            if (listing := listed.schema_of(place)) is None:
                raise unknown_key(key, Config)
            sections.setdefault(place, (listing, {}))[1][leaf] = rows[key]
            _refuse_unknown(*sections[place], f"{place}.")
    if all(_fits(schema, values) for schema, values in sections.values()):
        made = {place: schema(**_copied(values)) for place, (schema, values) in sections.items() if place}
        return Config(**_copied(roots), **_nested(made))
    return _converted(sections)


def _nested(found: dict[str, Any]) -> dict[str, Any]:
    """The fields of Config: what stands at `callback.NAME` goes into a dictionary `callback`."""
    fields: dict[str, Any] = {}
    for place, value in found.items():
        axis, dot, name = place.partition(".")
        if dot:
            fields.setdefault(axis, {})[name] = value
        else:
            fields[axis] = value
    return fields


def _copied(values: dict[str, Any]) -> dict[str, Any]:
    """The values for an object of its own: lists are not shared."""
    return {key: list(value) if isinstance(value, list) else value for key, value in values.items()}


def _schema(axis: str, values: dict[str, Any]) -> type[Any]:
    """The dataclass that stands behind the axis' choice. Raises UsageError for an unknown one."""
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
    """Return True if every value has its field's very type, and none is missing, so that nothing need be converted."""
    types = _types(schema)  # type: ignore[arg-type] # a class is hashable
    given = all(_is(value, types[key]) for key, value in values.items())
    return given and all(field.name in values or not _is_required(field) for field in dataclasses.fields(schema))


@functools.cache
def _types(schema: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(schema)


def _is(value: Any, kind: Any) -> bool:
    if typing.get_origin(kind) is list:
        return type(value) is list and all(_is(inner, typing.get_args(kind)[0]) for inner in value)
    if options := typing.get_args(kind):
        return any(_is(value, option) for option in options)
    return type(value) is kind and value != MISSING


def _is_required(field: dataclasses.Field[Any]) -> bool:
    """Return True if the field has no default. The axes' own fields of the root are filled in any case."""
    return field.name not in SECTIONS and default_of(field) == MISSING


def _converted(sections: _Sections) -> Config:
    """The configuration of values that OmegaConf converts (1 or "0.1" for a float), or refuses."""
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
    """The value as OmegaConf takes it literally: a stored ${...} is text, and nothing is looked up for it."""
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    if isinstance(value, list):
        return [_literal(inner) for inner in value]
    if isinstance(value, dict):
        return {key: _literal(inner) for key, inner in value.items()}
    return value
