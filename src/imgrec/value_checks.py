"""Check values in files of unknown origin. Each function returns the value with its type, or raises ValueError."""

import math
from typing import Any

LONGEST = 1000  # characters in a name
MOST = 10**15  # of counts; below 2**53, so that a float represents it exactly


def text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{what} must be a text, got {brief(value)}")
    return value


def name(value: Any, what: str) -> str:
    """Return a text that has no line breaks or control characters."""
    if not (isinstance(value, str) and value.isprintable() and len(value) <= LONGEST):
        raise ValueError(f"{what} must be a printable text of at most {LONGEST} characters, got {brief(value)}")
    return value


def integer(value: Any, what: str, *, low: int = 0, high: int = MOST) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{what} must be an integer from {low} to {high}, got {brief(value)}")
    return value


def number(value: Any, what: str, *, low: float = -math.inf, high: float = math.inf) -> float:
    """Return a finite number in [low, high]. A tensor or an array is refused, as JSON cannot store it."""
    try:
        found = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    except OverflowError:
        found = math.nan
    if not (math.isfinite(found) and low <= found <= high):
        raise ValueError(f"{what} must be a finite number{_range(low, high)}, got {brief(value)}")
    return found


def mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{what} must be a mapping with texts as keys, got {brief(value)}")
    return value


def items(value: Any, what: str, *, length: int | None = None, most: int = 10**6) -> list[Any]:
    if not isinstance(value, (list, tuple)) or len(value) > most or length not in (None, len(value)):
        count = f"{length}" if length is not None else f"at most {most}"
        raise ValueError(f"{what} must be a list of {count} values, got {brief(value)}")
    return list(value)


def brief(value: Any) -> str:
    """Return the value for a sentence, shortened."""
    if isinstance(value, (dict, list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    try:
        shown = repr(value)
    except ValueError:  # an integer with more digits than Python converts
        return f"a {type(value).__name__} too long to show"
    return shown if len(shown) <= 80 else f"{shown[:60]}..."


def _range(low: float, high: float) -> str:
    return "" if math.isinf(low) and math.isinf(high) else f" from {low:g} to {high:g}"
