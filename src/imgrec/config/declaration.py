"""Check a study's declaration of `primary` against the existing scores, keys and choices."""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from imgrec.config import primary, schemas
from imgrec.config.fields import choice, nearest
from imgrec.config.primary import Primary
from imgrec.config.root import AXES, MEASURED
from imgrec.errors import UsageError

METRICS = (
    "top1",
    "top5",
    "loss",
    "iou",
    "balanced_accuracy",
    "macro_f1",
    "ece",
    "ece_debiased",
    "ece_calibrated",
    "ece_calibrated_debiased",
    "nll",
    "nll_calibrated",
)
"""The scores that a study can be about. `ece_perfect` is a reference value, not a score."""

_CHOSEN = tuple(axis for axis in AXES if axis != "trainer")  # cpu, gpu and ddp are the same experiment


def check(declared: Sequence[str]) -> None:
    """Refuse a declaration that no table could answer.

    Args:
        declared: The entries of `primary`, each of the right form.

    Raises:
        UsageError: A score, key or choice is unknown, or records have another name for the choice.
    """
    for words in declared:
        each = primary.parse(words)
        choice("primary's score", each.metric, METRICS)
        for ours, theirs in each.pairs:
            for key, value in ours.items():
                _check_key(key)
                if key == "experiment" or key in _CHOSEN:
                    _check_values(key, (value, theirs[key]))
        if (named := _as_recorded(each)) != each.words:
            way_out = f"write {named!r}" if named else "its two sides are one setting there; declare another contrast"
            raise UsageError(f"primary must name choices as records do, got {each.words!r}; {way_out}")


def _check_key(key: str) -> None:
    known = _factors()
    if key not in known:
        guess = nearest(key.removesuffix(".name"), known)
        hint = f"did you mean {guess}?" if guess else "name one such as optimizer or optimizer.lr"
        raise UsageError(f"primary must name keys that settings of a table can differ in, got {key!r}; {hint}")


def _check_values(key: str, values: Sequence[str]) -> None:
    known = schemas.choices(key)
    for value in values:
        choice(f"primary's {key}", value, ["none", *known] if key == "experiment" else known)


@functools.cache
def _factors() -> tuple[str, ...]:
    """Return the keys that distinguish the settings of a table, as a command gives them."""
    outside = schemas.keys_outside_identity() | {*MEASURED, "seed"}
    return (
        "experiment",
        *_CHOSEN,
        "data.root",
        "init_from",
        *(key for key in schemas.known_keys() if key not in outside),
    )


def _as_recorded(each: Primary) -> str:
    """Return the declaration with the names that records have for choices; "" if both sides are then the same setting.

    A record has the name of a choice's dataclass (`momentum` for `optimizer=momentum_plain`). Two choices of one
    dataclass differ in the keys that their files set.
    """
    named = tuple(_sides_as_recorded(*pair) for pair in each.pairs)
    if named == each.pairs:
        return each.words
    if any(one == other for one, other in named):
        return ""
    told = (" vs ".join(" ".join(f"{key}={value}" for key, value in side.items()) for side in pair) for pair in named)
    return f"{each.words.partition(':')[0]}: {' under '.join(told)}"


def _sides_as_recorded(ours: Mapping[str, str], theirs: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    sides = (dict(ours), dict(theirs))
    for key in ours:
        if key not in _CHOSEN:
            continue
        values = (ours[key], theirs[key])
        names = [schemas.recorded_name(key, value) for value in values]
        sides[0][key], sides[1][key] = names
        if values[0] != values[1] and names[0] == names[1]:
            for leaf, own in _differing(key, *values).items():
                for side, value in zip(sides, own, strict=True):
                    side.setdefault(f"{key}.{leaf}", value)
    return sides


def _differing(axis: str, ours: str, theirs: str) -> dict[str, tuple[str, str]]:
    """Return the keys in which two choices of one dataclass differ, with both values as a command gives them."""
    one, other = schemas.settings(axis, ours), schemas.settings(axis, theirs)
    return {key: (_text(one[key]), _text(other.get(key))) for key in one if one[key] != other.get(key)}


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":")).replace('"', "")
