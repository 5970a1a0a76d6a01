"""Parse the overrides of a command, `key=value`, with Hydra's grammar. Imports no torch."""

import functools
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from imgrec.errors import UsageError

# Keys whose values are paths: any text is one, even if Hydra's grammar does not allow it.
PATHS = ("data.root", "init_from", "resume", "hydra.run.dir", "hydra.sweep.dir")
_VARIED = ("data.root", "init_from")  # those that a sweep may give several values


def key_of(override: str) -> str:
    """Return the key of an override."""
    return override.partition("=")[0].lstrip("+~")


def given(overrides: Sequence[str], key: str) -> str | None:
    """Return the last value that the command gives `key`; None if it gives none, or null."""
    values = [override.value() for override in parsed([text for text in overrides if key_of(text) == key])]
    return str(values[-1]) if values and values[-1] is not None else None


def literal(overrides: Sequence[str], *, several: bool = False) -> list[str]:
    """Return the overrides of a command, with quotes around paths that Hydra's grammar would misread.

    A path may contain `~/photos`, accents, blanks, `=`, brackets and 1e3. Values that the grammar reads as text stay as
    they are, with their quotes and ${...}. A comma is part of a path if that path exists.

    Args:
        overrides: The overrides.
        several: True if other commas in data.root and in init_from separate their values.
    """
    return [_literal(text, several) for text in overrides]


def quoted(text: str) -> str:
    """Return the text as a quoted value of Hydra's grammar, in which only backslashes before a quote are special."""
    mark = "'" if '"' in text else '"'  # prefer the mark that needs no escape inside a shell's quotes
    text = re.sub(rf"(\\*){mark}", lambda found: f"{found[1]}{found[1]}\\{mark}", text)
    return mark + re.sub(r"\\+$", lambda found: 2 * found[0], text) + mark


def parsed(overrides: Sequence[str]) -> list[Override]:
    """Return the overrides as Hydra parses them.

    Raises:
        UsageError: Hydra cannot parse an override.
    """
    found = []
    for text in overrides:
        override = _read(text)
        if override is None:
            key, equals, value = text.partition("=")
            word = f"{key}={quoted(value)}"
            if not equals or _read(word) is None:
                hint = "" if equals else "; quote a value that has blanks, and put none after a comma"
                raise UsageError(f"an override must read key=value, got {text!r}{hint}")
            if value.endswith(","):
                raise UsageError(f"{key} must have a value after each comma, without blanks between, got {value!r}")
            raise UsageError(
                f"{key} must have a value that Hydra's grammar can read, got {value!r}; quote it for the grammar and"
                f" for the shell: {shlex.quote(word)}"
            )
        found.append(override)
    return found


def _literal(text: str, several: bool) -> str:
    key, equals, value = text.partition("=")
    if not equals or key.lstrip("+") not in PATHS:
        return text
    if key.lstrip("+") in _VARIED:
        one = _exists(value) and not (several and all(map(_exists, _apart(value))))
        return f"{key}={_as_path(value, several=several and not one, one=one)}"
    value = _as_path(value, several=False, one=True)
    override = _read(f"x={value}")
    path = override.value() if override is not None else None
    if isinstance(path, str) and path.startswith("~"):  # a shell expands ~ only at the beginning of a word
        return f"{key}={quoted(os.path.expanduser(path))}"  # noqa: PTH111 - a Path raises where there is no home
    return f"{key}={value}"


def _as_path(value: str, *, several: bool, one: bool) -> str:
    """Return the value in a form that Hydra reads as a path.

    Args:
        value: The text after the key.
        several: True if several values are allowed.
        one: True if a comma is part of the path.
    """
    override = _read(f"x={value}")
    if override is None:
        parts = _apart(value) if several else [value]
        return ",".join(quoted(value) if len(parts) == 1 else _as_path(part, several=False, one=True) for part in parts)
    if override.is_sweep_override():
        return value if several or not one else quoted(value)
    read = override.value()
    as_it_is = read is None or str(read) == value or value[:1] in ("'", '"')
    return value if as_it_is or (isinstance(read, str) and "\\" in value) else quoted(value)


def _apart(value: str) -> list[str]:
    """Return the parts between commas. A comma inside quotes separates nothing."""
    return re.findall(r"""(?:'[^']*'|"[^"]*"|[^,])+""", value)


def _exists(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # too long, no home, a NUL
        return False


@functools.lru_cache(maxsize=1024)  # each override of a command is parsed several times
def _read(text: str) -> Override | None:
    """Return the override as Hydra parses it; None if it cannot. Callers must not change it."""
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException:
        return None
