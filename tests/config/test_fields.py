"""Test documented fields, range checks, and the nearest word."""

import dataclasses
from dataclasses import dataclass

import pytest

from imgrec.config.fields import (
    Range,
    above,
    at_least,
    below,
    choice,
    default_of,
    help_of,
    is_identity,
    nearest,
    setting,
    within,
)
from imgrec.errors import UsageError

INF, NAN = float("inf"), float("nan")


@dataclass(kw_only=True)
class Sample:
    size: int = setting(3, "how large")
    sizes: list[int] = setting(lambda: [1, 2], "several", identity=False)


def test_a_setting_carries_its_help_its_default_and_whether_it_is_identity() -> None:
    size, sizes = dataclasses.fields(Sample)
    assert (help_of(size), default_of(size), is_identity(size)) == ("how large", 3, True)
    assert (help_of(sizes), default_of(sizes), is_identity(sizes)) == ("several", [1, 2], False)


def test_a_default_that_can_change_is_made_anew() -> None:
    Sample().sizes.append(9)
    field = dataclasses.fields(Sample)[1]
    default_of(field).append(9)
    assert Sample().sizes == default_of(field) == [1, 2]


@pytest.mark.parametrize(
    ("check", "limits", "good", "bad", "sentence"),
    [
        (at_least, (1,), (1, 2, 1e300), (0, -1, NAN, INF), "k must be >= 1 and finite, got {!r}"),
        (above, (0,), (1e-300, 5), (0, -1, NAN, INF), "k must be > 0 and finite, got {!r}"),
        (within, (0, 1), (0, 0.5, 1), (-0.1, 1.1, NAN, INF), "k must lie in [0, 1], got {!r}"),
        (below, (0, 1), (0, 0.5), (-0.1, 1, NAN, INF), "k must lie in [0, 1), got {!r}"),
    ],
)
def test_a_range_keeps_its_ends_and_refuses_the_rest(check, limits, good, bad, sentence) -> None:
    for value in good:
        check("k", value, *limits)
    for value in bad:
        with pytest.raises(UsageError) as refusal:
            check("k", value, *limits)
        assert str(refusal.value) == sentence.format(value)


@pytest.mark.parametrize(("check", "limits"), [(at_least, (1,)), (above, (0,)), (within, (0, 1)), (below, (0, 1))])
def test_a_range_tells_the_way_out(check, limits) -> None:
    with pytest.raises(UsageError, match=r"got -3; use 5$"):
        check("k", -3, *limits, "use 5")


@pytest.mark.parametrize("lower", [{}, {"above": 0}, {"at_least": 0}])
@pytest.mark.parametrize("upper", [{}, {"below": 1}, {"at_most": 1}])
def test_a_refusal_says_the_range_in_the_words_of_the_help(lower: dict[str, float], upper: dict[str, float]) -> None:
    known = Range(**lower, **upper)
    if not lower and not upper:
        return
    for bad in [-1, *([0] if "above" in lower else [])] if lower else [2, *([1] if "below" in upper else [])]:
        with pytest.raises(UsageError) as refusal:
            known.check("k", bad)
        assert f" {known}" in str(refusal.value)
        assert str(refusal.value).endswith(f", got {bad}")
    for bad in (NAN, INF, -INF):
        with pytest.raises(UsageError, match=r"got (nan|inf|-inf)$"):
            known.check("k", bad)
    known.check("k", 0.5)


def test_a_choice_is_one_of_the_known_or_names_the_nearest() -> None:
    choice("k", "relu", ("relu", "tanh"))
    with pytest.raises(UsageError) as refusal:
        choice("k", "rleu", ("relu", "tanh"))
    assert str(refusal.value) == "k must be one of relu, tanh, got 'rleu'; did you mean relu?"
    with pytest.raises(UsageError) as refusal:
        choice("k", "zzz", ("relu", "tanh"))
    assert str(refusal.value) == "k must be one of relu, tanh, got 'zzz'"


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("resnet5O", "resnet50"),
        ("ResNet50", "resnet50"),
        ("resnetl8", "resnet18"),
        ("crop-flip", "crop_flip"),
        ("xyz", None),
    ],
)
def test_look_alikes_count_as_the_same(word: str, found: str | None) -> None:
    assert nearest(word, ["resnet18", "resnet50", "crop_flip"]) == found
