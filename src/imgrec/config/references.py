"""Check the keys of the container that Hydra composed, and what its ${...} stand for, before it becomes typed."""

import dataclasses
import typing
from collections.abc import Iterator

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from imgrec.config.explain import explained, unknown_choice, unknown_key
from imgrec.config.listed import LISTS
from imgrec.config.registry import components
from imgrec.config.root import Config
from imgrec.errors import UsageError


def check(config: DictConfig) -> list[str]:
    """Return the dotted keys whose values are a ${...}.

    Raises:
        UsageError: A key is unknown, or a ${...} stands in the place of a list and for none.
    """
    for key in _keys(config):
        _refuse_unknown(config, key)
    referring = [key for key in _keys(config) if _refers(config, key)]
    for key in referring:
        _check_list(config, key)
    return referring


def _keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in map(str, config):
        name = f"{prefix}{key}"
        yield name
        node = config._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing():
            yield from _keys(node, f"{name}.")


def _refers(config: DictConfig, key: str) -> bool:
    """Return True if the value at that dotted key is a ${...}."""
    parent, _, leaf = key.rpartition(".")
    owner = OmegaConf.select(config, parent) if parent else config
    return isinstance(owner, DictConfig) and OmegaConf.is_interpolation(owner, leaf)


def _check_list(config: DictConfig, key: str) -> None:
    """Refuse a ${...} in the place of a list that stands for no list, which OmegaConf does not check."""
    parent, _, leaf = key.rpartition(".")
    owner = OmegaConf.select(config, parent) if parent else config
    schema = OmegaConf.get_type(owner)
    if not dataclasses.is_dataclass(schema) or typing.get_origin(typing.get_type_hints(schema).get(leaf)) is not list:
        return
    try:
        value = OmegaConf.select(config, key)
    except OmegaConfBaseException as error:
        raise explained(error) from error
    if not isinstance(value, ListConfig):
        word = OmegaConf.to_container(owner, resolve=False)[leaf]  # type: ignore[call-overload, index]
        raise UsageError(
            f"{key} must be a list, and {word} stands for {value!r}; put it into brackets, '{key}=[\"{word}\"]', or"
            " refer to a list"
        )


def _refuse_unknown(config: DictConfig, key: str) -> None:
    """Refuse a key that was added with `+` although no dataclass has it."""
    parent, _, leaf = key.rpartition(".")
    if parent in LISTS and leaf not in components(parent):
        raise unknown_choice(parent, leaf)
    owner = OmegaConf.get_type(OmegaConf.select(config, parent)) if parent else Config
    if owner is not None and dataclasses.is_dataclass(owner):
        names = [field.name for field in dataclasses.fields(owner)]
        if leaf not in names:
            raise unknown_key(key, owner)
