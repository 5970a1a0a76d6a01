"""Refuse a sweep that gives a setting to choices of which only some have it, and write the commands that do it."""

import shlex
from collections.abc import Mapping, Sequence

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
    for axis in [key for key, override in words.items() if key in GROUPS and override.is_sweep_override()]:
        names = _names(words[axis])
        leaves = {key: key.partition(".")[2] for key in words if key.startswith(f"{axis}.")}
        keys = [key for key, leaf in leaves.items() if any(_has(axis, name, leaf) for name in names)]
        groups: dict[tuple[str, ...], list[str]] = {}  # the choices by the keys that they have
        for name in names:
            groups.setdefault(tuple(key for key in keys if _has(axis, name, leaves[key])), []).append(name)
        if len(groups) > 1:
            raise _refusal(axis, keys, groups, given, tries)


def _refusal(
    axis: str,
    keys: Sequence[str],
    groups: Mapping[tuple[str, ...], Sequence[str]],
    given: Sequence[str],
    tries: Sequence[str],
) -> UsageError:
    """Return the refusal of the first key that only some choices have."""
    key = next(key for key in keys if not all(key in own for own in groups))
    have, lack = (
        ",".join(name for own, names in groups.items() if (key in own) is has for name in names)
        for has in (True, False)
    )
    told = f"{key} must be a setting of each choice of the sweep, and is none of {axis}={lack}"
    if key in map(key_of, tries):
        return UsageError(f"{told}; tune {axis}={have} and {axis}={lack} by two commands")
    if key not in map(key_of, given):
        return UsageError(f"{told}; write two studies, one with {axis}: {have}, one without {key}")
    ways = [
        _command([word for word in given if key_of(word) not in keys or key_of(word) in own], axis, names)
        for own, names in sorted(groups.items(), reverse=True)
    ]
    count = {2: "two", 3: "three"}.get(len(ways), str(len(ways)))
    return UsageError(f"{told}; give {count} commands, whose runs share a folder: {' and '.join(ways)}")


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
