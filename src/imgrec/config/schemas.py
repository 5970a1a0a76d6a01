"""The choices of each axis: components by their names, and files of conf/ that give them values."""

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
    """Make the components known to Hydra. Calling it again adds those that have come since."""
    _register(data.default_root(), registry.generation())


@functools.lru_cache(maxsize=1)  # an eighth of a composition
def _register(root: str, generation: int) -> None:
    """root: the one default that comes from the environment, when it is registered. generation: of the components."""
    store = ConfigStore.instance()
    schema: DictConfig = OmegaConf.structured(Config)
    with open_dict(schema):
        for axis in LISTS:  # the settings of each have a place; typed configurations keep those of the named ones
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
    """The names that `axis=` or a list takes: components, and files of conf/<axis>."""
    return sorted(folders.names(axis) | {name for name, node in components(axis).items() if node.is_choice})


def settings(axis: str, name: str) -> dict[str, Any]:
    """The values that a choice of an axis gives its dataclass: those of its file, and the defaults of the rest.

    Raises yaml.YAMLError for a file that is no YAML.
    """
    schema, given = written(axis, name)
    values = {} if schema is None else {field.name: default_of(field) for field in dataclasses.fields(schema)}
    return values | given


def written(axis: str, name: str) -> tuple[type[Component] | None, dict[str, Any]]:
    """The component of a choice, None where its file names none, and the values that files of conf/ give it.

    Raises yaml.YAMLError for a file that is no YAML.
    """
    path = folders.file_for(f"{axis}/{name}")
    if path is None:
        return components(axis).get(name.removesuffix("_schema")), {}
    given = OmegaConf.to_container(OmegaConf.load(path))
    schema: type[Component] | None = None
    values: dict[str, Any] = {}
    if isinstance(given, dict):
        for base in given.pop("defaults", None) or ():
            if base not in ("_self_", name):
                found, below = written(axis, str(base))
                schema, values = found or schema, values | below
        values |= {str(key): value for key, value in given.items()}
    return schema, values


def recorded_name(axis: str, name: str) -> str:
    """What records call a choice: `momentum` for optimizer=momentum_plain."""
    return str(settings(axis, name).get("name", name))


def explanation(axis: str, name: str) -> str:
    """The line that explains a choice: the first comment of its file, or of its component's docstring."""
    path = folders.file_for(f"{axis}/{name}")
    if path is None:
        return str(components(axis)[name].__doc__).strip().splitlines()[0]
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("#") and "@package" not in line:
            return line.lstrip("# ")
    return ""


def known_keys() -> Iterator[str]:
    """Every dotted key of the root and of all choices of all axes, each once."""
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
    """The dotted keys that are no part of what a run is: paths, workers, logging, hardware, the command's own.

    A key that several choices have counts only where it is so for all of them.
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
