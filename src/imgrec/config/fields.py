"""Define the fields of configuration dataclasses: their help text, and the range of their values."""

import dataclasses
import difflib
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import Field, dataclass
from typing import Any

from omegaconf import ListConfig

from imgrec.errors import UsageError


@dataclass(frozen=True)
class Range:
    """The allowed values of a field. In a list, they apply to each item. None is allowed where the type allows it.

    Attributes:
        above: The value must be greater.
        at_least: The value must be this or greater.
        below: The value must be less.
        at_most: The value must be this or less.
        among: The value must be one of these.
        way_out: The advice of the error message; with `above`, only for a value that is too small.
    """

    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None
    among: tuple[str, ...] | None = None
    way_out: str = ""

    def check(self, key: str, value: Any) -> None:
        """Check a value.

        Args:
            key: The dotted key, for the error message.
            value: The value.

        Raises:
            UsageError: The value is outside of the range.
        """
        if value is None:
            return
        for item in value if isinstance(value, (list, tuple, ListConfig)) else [value]:
            if self.among is not None:
                choice(key, item, self.among)
            elif isinstance(item, (int, float)):
                self._check_number(key, item)
            else:
                raise UsageError(f"{key} must be a number, or a list of numbers, got {value!r}")

    def _check_number(self, key: str, value: float) -> None:
        low = self.at_least if self.at_least is not None else self.above
        high = self.at_most if self.at_most is not None else self.below
        if self.above is not None:
            above(key, value, self.above, self.way_out)
        hint = self.way_out if self.above is None else ""
        if low is not None and self.at_most is not None:
            within(key, value, low, self.at_most, hint)
        elif low is not None and self.below is not None:
            below(key, value, low, self.below, hint)
        elif self.at_least is not None:
            at_least(key, value, self.at_least, hint)
        elif high is not None and not (-float("inf") < value < high or value == self.at_most):
            raise UsageError(f"{key} must be {self} and finite, got {value!r}{_hint(hint)}")

    def __str__(self) -> str:
        if self.among is not None:
            return f"one of {', '.join(self.among)}"
        low, high = "", ""
        if self.at_least is not None or self.above is not None:
            low = f">= {self.at_least}" if self.above is None else f"> {self.above}"
        if self.at_most is not None or self.below is not None:
            high = f"<= {self.at_most}" if self.below is None else f"< {self.below}"
        if not low or not high:
            return low or high
        opening = f"[{self.at_least}" if self.above is None else f"({self.above}"
        return f"in {opening}, {self.at_most}]" if self.below is None else f"in {opening}, {self.below})"


def setting(
    default: Any,
    help: str,
    *,
    identity: bool = True,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    among: tuple[str, ...] | None = None,
    way_out: str = "",
) -> Any:
    """Return a dataclass field with its help text and the range of its values.

    Args:
        default: The value, or a callable that makes it (lists, the environment).
        help: One line for `imgrec train --help`.
        identity: True if the value is part of a run's identity. False for paths, workers, logging and hardware, which
            do not change the run's id.
        above: As in `Range`, like all that follow.
        at_least: As in `Range`.
        below: As in `Range`.
        at_most: As in `Range`.
        among: As in `Range`.
        way_out: As in `Range`.
    """
    if (above is not None and at_least is not None) or (below is not None and at_most is not None):
        raise ValueError(f"a setting has one lower bound and one upper bound at most: {help}")
    metadata: dict[str, Any] = {"help": help, "identity": identity}
    bounds = {"above": above, "at_least": at_least, "below": below, "at_most": at_most, "among": among}
    if any(bound is not None for bound in bounds.values()):
        metadata["range"] = Range(above, at_least, below, at_most, among, way_out)
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@functools.cache
def ranges(schema: type) -> Mapping[str, Range]:
    """Return the declared ranges of a dataclass' fields. A redefined field keeps the range of its base class."""
    found: dict[str, Range] = {}
    for cls in reversed(schema.__mro__):
        for name, field in getattr(cls, "__dataclass_fields__", {}).items():
            if "range" in field.metadata:
                found[name] = field.metadata["range"]
    return found


def help_of(field: Field[Any]) -> str:
    return str(field.metadata["help"])


def is_identity(field: Field[Any]) -> bool:
    return bool(field.metadata["identity"])


def default_of(field: Field[Any]) -> Any:
    """Return the field's default value, a new object where the field has a factory."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known word that is most similar to `word`; None if no word is similar.

    Characters that look alike count as equal: `resnet5O` (letter O) is `resnet50`.
    """
    plain = {_plain(name): name for name in known}
    found = difflib.get_close_matches(_plain(word), plain, n=1, cutoff=cutoff)
    return plain[found[0]] if found else None


def _plain(word: str) -> str:
    return word.lower().replace("o", "0").replace("l", "1").replace("-", "_")


def choice(key: str, value: str, known: Sequence[str], way_out: str = "") -> None:
    """Refuse a value that is not in `known`, with the known values and the nearest one.

    Args:
        key: What the value is of, for the refusal.
        value: The value.
        known: The values that there are.
        way_out: What the refusal recommends where no known value is near.

    Raises:
        UsageError: The value is not known.
    """
    if value not in known:
        guess = nearest(value, known) if isinstance(value, str) else None
        hint = _hint(f"did you mean {guess}?" if guess else way_out)
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
