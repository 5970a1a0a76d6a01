"""List the choices of each axis: components by their names, and files of conf/ that set their values."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf, open_dict

from imgrec.config import data, folders, listed, registry
from imgrec.config.component import Component
from imgrec.config.fields import default_of, is_identity
from imgrec.config.listed import LISTS
from imgrec.config.registry import components
from imgrec.config.root import GROUPS, SECTIONS, Config


def register() -> None:
    """Make the components known to Hydra. A later call adds the components that were registered since."""
    _register(data.default_root(), registry.generation())


@functools.lru_cache(maxsize=1)  # takes an eighth of the time of a composition
def _register(root: str, generation: int) -> None:
    """Register the components once for each combination of the arguments.

    Args:
        root: The default of data.root, the only default that comes from the environment.
        generation: The generation of the components.
    """
    store = ConfigStore.instance()
    schema: DictConfig = OmegaConf.structured(Config)
    with open_dict(schema):
        for axis in LISTS:  # all listed components; a typed configuration keeps only the named ones
            OmegaConf.update(
                schema, axis, {name: OmegaConf.structured(node) for name, node in components(axis).items()}
            )
    store.store(name="schema", node=schema)
    for axis in GROUPS:
        for name, node in components(axis).items():
            store.store(group=axis, name=f"{name}_schema", node=node)
            if node.is_choice:
                store.store(group=axis, name=name, node=node)


def choices(axis: str) -> list[str]:
    """Return the names that `axis=` or a list takes: components, and files of conf/<axis>."""
    return sorted(folders.names(axis) | {name for name, node in components(axis).items() if node.is_choice})


def settings(axis: str, name: str) -> dict[str, Any]:
    """Return the values that a choice of an axis gives its dataclass: those of its file, else the defaults.

    Raises:
        UsageError: The file cannot be read.
    """
    schema, given = written(axis, name)
    values = {} if schema is None else {field.name: default_of(field) for field in dataclasses.fields(schema)}
    return values | given


def written(axis: str, name: str) -> tuple[type[Component] | None, dict[str, Any]]:
    """Return the component of a choice, None if its file names none, and the values that files of conf/ set.

    Raises:
        UsageError: A file cannot be read.
    """
    path = folders.file_for(f"{axis}/{name}")
    if path is None:
        return components(axis).get(name.removesuffix("_schema")), {}
    given = folders.rows_of(f"{axis}/{name}")
    schema: type[Component] | None = None
    values: dict[str, Any] = {}
    for base in given.pop("defaults", None) or ():
        if base not in ("_self_", name):
            found, below = written(axis, str(base))
            schema, values = found or schema, values | below
    return schema, values | given


def recorded_name(axis: str, name: str) -> str:
    """Return the name of a choice in records: `momentum` for optimizer=momentum_plain."""
    return str(settings(axis, name).get("name", name))


def explanation(axis: str, name: str) -> str:
    """Return the line that explains a choice: the first comment of its file, or the first line of its docstring."""
    path = folders.file_for(f"{axis}/{name}")
    if path is None:
        return str(components(axis)[name].__doc__).strip().splitlines()[0]
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("#") and "@package" not in line:
            return line.lstrip("# ")
    return ""


def known_keys() -> Iterator[str]:
    """Yield every dotted key of the root and of all choices of all axes once."""
    seen = set()
    for field in dataclasses.fields(Config):
        if field.name not in SECTIONS:
            seen.add(field.name)
            yield field.name
    yield from (key for key, _ in listed.settings())
    for axis in GROUPS:
        for schema in components(axis).values():
            for field in schema.settings():
                key = f"{axis}.{field.name}"
                if key not in seen:
                    seen.add(key)
                    yield key


def keys_outside_identity() -> set[str]:
    """Return the dotted keys that are no part of a run's identity: of paths, workers, logging, hardware, the command.

    A key of several choices is included only if this holds for all of them.
    """
    own = [field for field in dataclasses.fields(Config) if field.name not in SECTIONS]
    outside, inside = {field.name for field in own if not is_identity(field)}, set[str]()
    for key, field in listed.settings():
        component = listed.schema_of(key.rpartition(".")[0])
        if key.startswith("logger.") or getattr(component, "observes", False) or not is_identity(field):
            outside.add(key)
    for axis in GROUPS:
        for schema in components(axis).values():
            for field in schema.settings():
                (inside if is_identity(field) else outside).add(f"{axis}.{field.name}")
    return outside - inside
