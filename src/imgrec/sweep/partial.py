"""Refuse a sweep that gives a setting to choices of which only some have it, and write the commands that do it."""

import shlex
from collections.abc import Sequence

from hydra.core.override_parser.types import Override

from imgrec.config import outside, schemas
from imgrec.config.compose import expand
from imgrec.config.overrides import key_of, parsed
from imgrec.config.root import GROUPS
from imgrec.errors import UsageError


def refuse(given: Sequence[str], of_study: Sequence[str], tries: Sequence[str] = ()) -> None:
    """Refuse a key such as `loss.gamma` if the sweep varies `loss`, and not every one of its choices has the key.

    Args:
        given: The words of the command.
        of_study: The words of its study, which precede them.
        tries: The words whose values a tuning tries.

    Raises:
        UsageError: There is such a key. The advice is a command for the choices that have it and one for the others.
    """
    words = {override.key_or_group: override for override in parsed([*of_study, *given, *tries])}
    for key in words:
        axis, _, leaf = key.partition(".")
        if axis not in GROUPS or not leaf or axis not in words or not words[axis].is_sweep_override():
            continue
        names = _names(words[axis])
        have = [name for name in names if _has(axis, name, leaf)]
        lack = [name for name in names if name not in have]
        if have and lack:
            told = f"{key} must be a setting of each choice of the sweep, and is none of {axis}={','.join(lack)}"
            if key in map(key_of, tries):
                raise UsageError(f"{told}; tune {axis}={','.join(have)} and {axis}={','.join(lack)} by two commands")
            if key not in map(key_of, given):
                raise UsageError(f"{told}; write two studies, one with {axis}: {','.join(have)}, one without {key}")
            ways = [_command(given, axis, have), _command([word for word in given if key_of(word) != key], axis, lack)]
            raise UsageError(f"{told}; give two commands, whose runs share a folder: {' and '.join(ways)}")


def _names(override: Override) -> list[str]:
    """Return the choices that a sweep makes of an axis; none where one is unknown, which is refused elsewhere."""
    names = [word.partition("=")[2] for (word,) in expand([str(override.input_line)])]
    return names if set(names) <= set(schemas.choices(override.key_or_group)) else []


def _has(axis: str, name: str, leaf: str) -> bool:
    schema, _ = schemas.written(axis, name)
    return schema is not None and leaf in (field.name for field in schema.settings())


def _command(given: Sequence[str], axis: str, names: Sequence[str]) -> str:
    """Return the command in which the axis has these choices alone."""
    chosen = f"{axis}={','.join(names)}"
    words = [chosen if key_of(word) == axis else word for word in given]
    words += [] if chosen in words else [chosen]
    return " ".join(["imgrec train", *outside.options(), "-m", *map(shlex.quote, words)])
