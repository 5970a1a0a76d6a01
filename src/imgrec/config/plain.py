"""The configuration as plain containers, for records and checkpoints, and back."""

import dataclasses
import re
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from imgrec.config.explain import explained, unknown_key
from imgrec.config.root import AXES, GROUPS, Config
from imgrec.config.schemas import SCHEMAS
from imgrec.errors import UsageError


def flat(config: Config) -> dict[str, Any]:
    """The complete configuration with dotted keys and plain values, as records store it."""
    rows: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
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
        if key in GROUPS:
            raise UsageError(f"{key} must be stored as dotted keys ({key}.name, ...), got {rows[key]!r}")
        if "." in key and key.partition(".")[0] not in GROUPS:
            raise unknown_key(key, Config)
    made = _structured(Config, {key: value for key, value in rows.items() if "." not in key}, "")
    for axis in GROUPS:
        values = {key.partition(".")[2]: value for key, value in rows.items() if key.startswith(f"{axis}.")}
        if not values and axis not in AXES:  # an older version wrote it
            values = {"name": next(iter(SCHEMAS[axis]))}
        schemas = SCHEMAS[axis]
        name = str(values.get("name"))
        schema = next(iter(schemas.values())) if len(schemas) == 1 else schemas.get(name)
        if schema is None:
            raise UsageError(f"{axis}.name must be one of {', '.join(schemas)}, got {name!r}")
        made[axis] = _structured(schema, values, f"{axis}.")
    try:
        return cast(Config, OmegaConf.to_object(made))
    except OmegaConfBaseException as error:
        raise explained(error) from error


def _structured(schema: type, values: dict[str, Any], prefix: str) -> DictConfig:
    known = {field.name for field in dataclasses.fields(schema)}
    for key in values:
        if key not in known:
            raise unknown_key(f"{prefix}{key}", schema)
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
