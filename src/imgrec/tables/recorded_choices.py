"""Tell what a record's choices set by themselves, and which of their keys do not count. Imports no torch."""

import dataclasses
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any

from omegaconf import MISSING

from imgrec.config import listed
from imgrec.config.fields import default_of
from imgrec.config.registry import components
from imgrec.config.root import Config
from imgrec.records import Record


def defaults_in(record: Record, axis: str) -> Mapping[str, Any]:
    """Return the default values of a run's choice of an axis, or of the root for an empty axis.

    The defaults of an outside component are those that the run recorded.
    """
    name = str(record.config.get(f"{axis}.name"))
    place = f"{axis}={name}" if "." not in axis else axis.replace(".", "=", 1)  # callback.NAME is an element of a list
    kept = record.components.get(place)
    if kept is None:
        return _defaults(axis, name)
    return {**_shared_defaults(axis), **kept.get("defaults", {})}  # a key that all choices got later has its default


def keys_outside(record: Record) -> set[str]:
    """Return the keys of a run's outside components that are no part of the run's identity."""
    found = set()
    for choice, kept in record.components.items():
        axis = choice.partition("=")[0]
        place = choice.replace("=", ".") if axis in listed.LISTS else axis
        observed = kept.get("defaults", {}) if kept.get("observes") else kept.get("outside_identity", [])
        found |= {f"{place}.{name}" for name in observed}
    return found


def observes(record: Record, name: str) -> bool:
    """Return True if a callback changes no result. A run without it then belongs to the same setting."""
    kept = record.components.get(f"callback={name}")
    return bool(kept.get("observes") if kept else getattr(components("callback").get(name), "observes", False))


@cache
def _shared_defaults(axis: str) -> dict[str, Any]:
    """Return the default values of the keys that all choices of an axis have."""
    base = typing.get_type_hints(Config).get(axis)
    fields = dataclasses.fields(base) if isinstance(base, type) and dataclasses.is_dataclass(base) else ()
    return {field.name: default for field in fields if (default := default_of(field)) != MISSING}


@cache
def _defaults(axis: str, name: str) -> dict[str, Any]:
    """Return the default values of a choice of an axis, or of the root for an empty axis."""
    schemas: Mapping[str, type] = components(axis) if axis else {"": Config}
    if "." in axis and (found := listed.schema_of(axis)) is not None:
        schemas = {"": found}
    schema = next(iter(schemas.values())) if len(schemas) == 1 else schemas.get(name)
    if schema is None:
        return {}
    return {field.name: default for field in dataclasses.fields(schema) if (default := default_of(field)) != MISSING}
