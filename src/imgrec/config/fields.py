"""Define the fields of configuration dataclasses: their help text, and the range of their values."""

import dataclasses
import difflib
import functools
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import Field, dataclass
from typing import Any

from omegaconf import MISSING, ListConfig

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
            elif not isinstance(item, (int, float)):
                raise UsageError(f"{key} must be a number, or a list of numbers, got {value!r}")
            elif not self._holds(item):
                hinted = self.above is None or not self.above < item < float("inf")
                raise UsageError(f"{key} must {self.rule}, got {item!r}", way_out=(hinted and self.way_out) or None)

    def _holds(self, value: float) -> bool:
        """Return True if the number lies in the range; False for NaN and infinities."""
        if not -float("inf") < value < float("inf"):
            return False
        return (
            (self.above is None or self.above < value)
            and (self.at_least is None or self.at_least <= value)
            and (self.below is None or value < self.below)
            and (self.at_most is None or value <= self.at_most)
        )

    @property
    def rule(self) -> str:
        """What a number must do, with the range as help prints it: `lie in (0, 1]`, `be > 0 and finite`."""
        told = str(self)
        return f"lie {told}" if told.startswith("in ") else f"be {told} and finite"

    def __str__(self) -> str:
        if self.among is not None:
            return _one_of(self.among)
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

    Raises:
        UsageError: The default is a list itself, or there are two bounds on one side.
    """
    if isinstance(default, (list, dict, set)):
        raise UsageError(
            f"the default of a setting must be made anew for each run, got {default!r}: {help}",
            way_out=f"write setting(lambda: {default!r}, ...)",
        )
    if (above is not None and at_least is not None) or (below is not None and at_most is not None):
        raise UsageError(
            f"a setting must have one lower bound and one upper bound at most: {help}", way_out="drop a bound"
        )
    if among is not None and not all(isinstance(value, str) for value in among):
        raise UsageError(
            f"among must hold texts, got {among!r}: {help}", way_out="declare the setting as a str, or give at_least"
        )
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


def check_defaults(schema: type) -> None:
    """Check the default of each field against the field's type and range.

    Raises:
        UsageError: A default is of another type, or outside of its range.
    """
    kinds, known = typing.get_type_hints(schema), ranges(schema)
    for field in dataclasses.fields(schema):
        value = default_of(field)
        if value in (dataclasses.MISSING, MISSING):  # the command must give a value
            continue
        told, way_out = f"the default of {schema.__name__}.{field.name}", "give another default"
        if not is_of(value, kinds[field.name]):
            kind = str(field.type.__name__ if isinstance(field.type, type) else field.type)
            raise UsageError(f"{told} must be of the type {kind}, got {value!r}", way_out=f"{way_out}, or another type")
        if field.name in known:
            try:
                known[field.name].check(told, value)
            except UsageError as error:
                raise UsageError(error.reason, way_out=f"{way_out}, or another range") from error


def is_of(value: Any, kind: Any) -> bool:
    """Return True if the value is of a type that a setting can have; a whole number also counts as a float."""
    if typing.get_origin(kind) is list:
        return isinstance(value, list) and all(is_of(item, typing.get_args(kind)[0]) for item in value)
    if options := typing.get_args(kind):
        return any(is_of(value, option) for option in options)
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    return kind is Any or not isinstance(kind, type) or isinstance(value, kind)


def default_of(field: Field[Any]) -> Any:
    """Return the field's default value, a new object where the field has a factory."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known word that is most similar to `word`; None if no word is similar.

    Characters that look alike count as equal: `resnet5O` (letter O) is `resnet50`.
    """
    return next(iter(_similar(word, known, 1, cutoff)), None)


def known_or_nearest(key: str, value: str, known: Sequence[str], *, what: str, listed: str) -> None:
    """Refuse a value that is not in `known`, which is too long to print, with the three nearest ones.

    Args:
        key: What the value is of, for the refusal.
        value: The value.
        known: The values that there are.
        what: What they are, in words.
        listed: Where all of them are listed.

    Raises:
        UsageError: The value is not known.
    """
    if value not in known:
        *others, last = _similar(value, known, 3, 0.6) or [""]
        nearest = f"{', '.join(others)} or {last}" if others else last
        hint = f"did you mean {nearest}?" if nearest else f"{listed} lists them"
        raise UsageError(f"{key} must be {what}, got {value!r}", way_out=hint)


def _similar(word: str, known: Iterable[str], count: int, cutoff: float) -> list[str]:
    """Return the known words that are similar to `word`, most similar first: one with the same letters before others.

    So `adma` is `adam`, whose letters are swapped, and not the longer `adamax`.
    """
    plain = {_plain(name): name for name in known}
    found = difflib.get_close_matches(_plain(word), plain, n=max(count, 5), cutoff=cutoff)
    found.sort(key=lambda name: sorted(name) != sorted(_plain(word)))
    return [plain[name] for name in found[:count]]


def _plain(word: str) -> str:
    return word.lower().replace("o", "0").replace("l", "1").replace("-", "_")


def choice(key: str, value: str, known: Sequence[str], way_out: str = "") -> None:
    """Refuse a value that is not in `known`, with the known values and the nearest one.

    Args:
        key: What the value is of, for the refusal.
        value: The value.
        known: The values that there are.
        way_out: What the refusal recommends besides the nearest known value.

    Raises:
        UsageError: The value is not known.
    """
    if value not in known:
        guess = nearest(value, known) if isinstance(value, str) else None
        hint = "; ".join(filter(None, [f"did you mean {guess}?" if guess else "", way_out]))
        raise UsageError(f"{key} must be {_one_of(known)}, got {value!r}", way_out=hint or None)


def _one_of(known: Sequence[str]) -> str:
    return f"one of {', '.join(known)}"


def at_least(key: str, value: float, low: float, way_out: str = "") -> None:
    """Refuse a value below `low`, NaN and infinity."""
    Range(at_least=low, way_out=way_out).check(key, value)


def above(key: str, value: float, low: float, way_out: str = "") -> None:
    """Refuse a value that is not greater than `low`, NaN and infinity."""
    Range(above=low, way_out=way_out).check(key, value)


def within(key: str, value: float, low: float, high: float, way_out: str = "") -> None:
    """Refuse a value outside the closed range [low, high]."""
    Range(at_least=low, at_most=high, way_out=way_out).check(key, value)


def below(key: str, value: float, low: float, high: float, way_out: str = "") -> None:
    """Refuse a value outside the half-open range [low, high)."""
    Range(at_least=low, below=high, way_out=way_out).check(key, value)
