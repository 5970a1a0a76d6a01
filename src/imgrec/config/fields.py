"""What every config dataclass is built from: a documented field, and the range checks of its values."""

import dataclasses
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import Field
from typing import Any

from imgrec.errors import UsageError


def setting(default: Any, help: str, *, identity: bool = True) -> Any:
    """A dataclass field with its line of explanation.

    default: the value, or a callable that makes it (lists, the environment).
    identity: whether the value belongs to what a run *is*. False for paths, workers, logging and hardware:
    they leave the run's id as it is.
    """
    metadata = {"help": help, "identity": identity}
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def help_of(field: Field[Any]) -> str:
    return str(field.metadata["help"])


def is_identity(field: Field[Any]) -> bool:
    return bool(field.metadata["identity"])


def default_of(field: Field[Any]) -> Any:
    """The field's default value, made anew where it has a factory."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word that looks most like `word`; None when nothing comes near.

    Look-alikes count: `resnet5O` (letter O) is `resnet50`.
    """
    plain = {_plain(name): name for name in known}
    found = difflib.get_close_matches(_plain(word), plain, n=1, cutoff=cutoff)
    return plain[found[0]] if found else None


def _plain(word: str) -> str:
    return word.lower().replace("o", "0").replace("l", "1").replace("-", "_")


def choice(key: str, value: str, known: Sequence[str]) -> None:
    """Refuse a value outside `known`, naming the choices and the nearest one."""
    if value not in known:
        guess = nearest(value, known)
        hint = f"; did you mean {guess}?" if guess else ""
        raise UsageError(f"{key} must be one of {', '.join(known)}, got {value!r}{hint}")


def at_least(key: str, value: float, low: float, way_out: str = "") -> None:
    if not low <= value < float("inf"):  # also refuses NaN
        raise UsageError(f"{key} must be >= {low} and finite, got {value!r}{_hint(way_out)}")


def above(key: str, value: float, low: float, way_out: str = "") -> None:
    if not low < value < float("inf"):
        raise UsageError(f"{key} must be > {low} and finite, got {value!r}{_hint(way_out)}")


def within(key: str, value: float, low: float, high: float, way_out: str = "") -> None:
    """Refuse a value outside the closed range [low, high]."""
    if not low <= value <= high:
        raise UsageError(f"{key} must lie in [{low}, {high}], got {value!r}{_hint(way_out)}")


def below(key: str, value: float, low: float, high: float, way_out: str = "") -> None:
    """Refuse a value outside the half-open range [low, high)."""
    if not low <= value < high:
        raise UsageError(f"{key} must lie in [{low}, {high}), got {value!r}{_hint(way_out)}")


def _hint(way_out: str) -> str:
    return f"; {way_out}" if way_out else ""
