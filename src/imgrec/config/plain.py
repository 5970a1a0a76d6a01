"""The configuration as plain containers, for records and checkpoints, and back."""

import dataclasses
from typing import Any, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from imgrec.config.explain import unknown_key
from imgrec.config.root import AXES, Config
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
    made: dict[str, Any] = {}
    for axis in AXES:
        values = {key.partition(".")[2]: value for key, value in rows.items() if key.startswith(f"{axis}.")}
        schemas = SCHEMAS[axis]
        name = str(values.get("name"))
        schema = next(iter(schemas.values())) if len(schemas) == 1 else schemas.get(name)
        if schema is None:
            raise UsageError(f"{axis}.name must be one of {', '.join(schemas)}, got {name!r}")
        made[axis] = _structured(schema, values, f"{axis}.")
    made.update({key: value for key, value in rows.items() if "." not in key})
    return cast(Config, _structured(Config, made, ""))


def _structured(schema: type, values: dict[str, Any], prefix: str) -> Any:
    known = {field.name for field in dataclasses.fields(schema)}
    for key in values:
        if key not in known:
            raise unknown_key(f"{prefix}{key}", schema)
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), values))
    except OmegaConfBaseException as error:
        raise UsageError(f"{prefix}{error.full_key}: {str(error.msg or error).splitlines()[0]}") from error
