"""The words of a command, `key=value`, as Hydra's grammar reads them. Imports no torch."""

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

# Any text is a path, whatever Hydra's grammar says.
PATHS = ("data.root", "resume", "hydra.run.dir", "hydra.sweep.dir")


def key_of(override: str) -> str:
    """The key that an override speaks of."""
    return override.partition("=")[0].lstrip("+~")


def given(overrides: Sequence[str], key: str) -> str | None:
    """The value that the command gives `key`, the last one counting; None where it gives none, or null."""
    values = [override.value() for override in parsed([text for text in overrides if key_of(text) == key])]
    return str(values[-1]) if values and values[-1] is not None else None


def literal(overrides: Sequence[str], *, several: bool = False) -> list[str]:
    """The words of a command, in which paths are quoted where Hydra's grammar would not read them as they are.

    `~/photos`, accents, blanks, `=`, brackets and 1e3 are a path's own. What the grammar reads as text stays, quotes
    and ${...} included. A comma is a path's own where that path exists. several: else it separates values of data.root.
    """
    return [_literal(text, several) for text in overrides]


def quoted(text: str) -> str:
    """The text as a quoted value of Hydra's grammar, in which only backslashes before a quote count."""
    mark = "'" if '"' in text else '"'  # as a rule the one that a shell's own quotes can hold
    text = re.sub(rf"(\\*){mark}", lambda found: f"{found[1]}{found[1]}\\{mark}", text)
    return mark + re.sub(r"\\+$", lambda found: 2 * found[0], text) + mark


def parsed(overrides: Sequence[str]) -> list[Override]:
    """The words as Hydra reads them. Raises UsageError for what it cannot read."""
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
    if key.lstrip("+") == "data.root":
        one = _exists(value) and not (several and all(map(_exists, _apart(value))))
        return f"{key}={_as_path(value, several=several and not one, one=one)}"
    value = _as_path(value, several=False, one=True)
    override = _read(f"x={value}")
    path = override.value() if override is not None else None
    if isinstance(path, str) and path.startswith("~"):  # a shell expands it only where a word begins with it
        return f"{key}={quoted(os.path.expanduser(path))}"  # noqa: PTH111 - a Path raises where there is no home
    return f"{key}={value}"


def _as_path(value: str, *, several: bool, one: bool) -> str:
    """The value so that Hydra reads a path, or, where they are allowed, `several`. one: a comma is the path's own."""
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
    """The parts between commas; those inside quotes belong to a part."""
    return re.findall(r"""(?:'[^']*'|"[^"]*"|[^,])+""", value)


def _exists(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # too long, no home, a NUL
        return False


@functools.lru_cache(maxsize=1024)  # a command's words are looked at several times
def _read(text: str) -> Override | None:
    """The word as Hydra reads it, not to be changed; None where it cannot."""
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException:
        return None
