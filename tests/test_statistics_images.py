"""Test what seeds and images show together, against definitions, SciPy and cases by hand."""

import math

import numpy as np
import pytest
from crossed import World, draw
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from imgrec.proportions import wilson
from imgrec.statistics import Interval, contrast, difference_over_both, interval_over_both, summarise

seeded = settings(max_examples=60, deadline=None, database=None, derandomize=True)
WORLD = World(accuracy=0.8, difficulty=1.5, taste=0.7, seed=0.2, shared=0.3, images=400)


def drawn(runs: int, seed: int = 0) -> np.ndarray:
    (one,) = draw(WORLD, runs, 1, seed)
    return one.correct


def by_definition(groups: list[np.ndarray]) -> tuple[float, float]:
    """Variance and degrees of freedom from the sums of squares of each two-way table, image by image."""
    images = groups[0].shape[1]
    runs_part, rests, squares = 0.0, 0.0, 0.0
    for values in groups:
        runs, mean = len(values), values.mean()
        by_run, by_image = values.mean(1), values.mean(0)
        of_runs = images * sum((top - mean) ** 2 for top in by_run) / (runs - 1)
        of_rest = sum(
            (values[s, i] - by_run[s] - by_image[i] + mean) ** 2 for s in range(runs) for i in range(images)
        ) / ((runs - 1) * (images - 1))
        runs_part += max(of_runs, of_rest) / (runs * images)
        rests += of_rest / (runs * images)
        squares += (of_runs / (runs * images)) ** 2 / (runs - 1)
        squares += (of_rest / (runs * images)) ** 2 / ((runs - 1) * (images - 1))
    per_image = sum(values.mean(0) for values in groups)
    of_images = float(np.var(per_image, ddof=1)) / images
    squares += of_images**2 / (images - 1)
    variance = runs_part + max(of_images, rests) - rests
    return variance, variance**2 / squares


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("runs", [2, 4])
def test_differences_follow_from_the_mean_squares(runs: int, paired: bool) -> None:
    ours, theirs = drawn(runs)
    groups = [ours.astype(float) - theirs] if paired else [ours.astype(float), -theirs.astype(float)]
    variance, df = by_definition(groups)
    found = difference_over_both(ours, theirs, paired=paired)
    mean = ours.mean() - theirs.mean()
    by_seed = contrast(dict(enumerate(ours.mean(1).tolist())), dict(enumerate(theirs.mean(1).tolist())))
    assert by_seed is not None
    assert by_seed.paired is not None
    seeds = by_seed.paired if paired else by_seed.unpaired
    assert seeds.p is not None
    assert found.p is not None
    half = stats.t.isf(0.025, df) * math.sqrt(variance)
    assert found.mean == pytest.approx(mean)
    assert found.p == pytest.approx(max(2 * stats.t.sf(abs(mean) / math.sqrt(variance), df), seeds.p))
    assert found.low == pytest.approx(min(mean - half, seeds.low))
    assert found.high == pytest.approx(max(mean + half, seeds.high))


@pytest.mark.parametrize("runs", [2, 3, 10])
def test_an_interval_over_new_images_is_wilson_s_at_the_effective_number_of_images(runs: int) -> None:
    ours, _ = drawn(runs)
    variance, df = by_definition([ours.astype(float)])
    mean = float(ours.mean())
    n, t = mean * (1 - mean) / variance, stats.t.isf(0.025, df)
    # the shares whose own t statistic is t: the roots of (1 + t^2 / n) x^2 - (2 mean + t^2 / n) x + mean^2
    low, high = sorted(np.roots([1 + t * t / n, -(2 * mean + t * t / n), mean**2]))
    seeds = summarise(ours.mean(1).tolist(), within=(0.0, 1.0))
    found = interval_over_both(ours)
    assert found.low == pytest.approx(min(low, seeds.low))
    assert found.high == pytest.approx(max(high, seeds.high))


@given(st.integers(1, 500), st.data())
@seeded
def test_of_one_run_it_is_the_interval_that_records_have(images: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, images))
    correct = (np.arange(images) < right)[None]
    found = interval_over_both(correct)
    assert (found.low, found.high) == pytest.approx(wilson(right / images, images))


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 50))
@seeded
def test_two_runs_are_compared_by_mcnemar_s_mid_p_and_bonett_and_price(one: int, other: int, alike: int) -> None:
    ours = np.array([True] * one + [False] * other + [True] * alike)
    theirs = np.array([False] * one + [True] * other + [True] * alike)
    found = difference_over_both(ours[None], theirs[None], paired=True)
    trials, least = one + other, min(one, other)
    if not trials:
        assert found.p is None
    else:
        exact = 2 * stats.binom.cdf(least, trials, 0.5) - stats.binom.pmf(least, trials, 0.5)
        assert found.p == pytest.approx(min(1.0, exact))
    n = trials + alike + 2
    above, below = (one + 1) / n, (other + 1) / n
    half = 1.959964 * math.sqrt((above + below - (above - below) ** 2) / n)
    assert found.mean == pytest.approx((one - other) / (n - 2))
    assert found.low == pytest.approx(max(above - below - half, -1.0), abs=1e-6)
    assert found.high == pytest.approx(min(above - below + half, 1.0), abs=1e-6)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("runs", [1, 2, 5])
def test_the_other_way_round_it_is_the_same_with_the_other_sign(runs: int, paired: bool) -> None:
    ours, theirs = drawn(runs, seed=3)
    there, back = (difference_over_both(*pair, paired=paired) for pair in ((ours, theirs), (theirs, ours)))
    assert there.p == back.p
    assert there.low is not None
    assert there.high is not None
    assert (back.mean, back.low, back.high) == pytest.approx((-there.mean, -there.high, -there.low))


@pytest.mark.parametrize("runs", [2, 5])
def test_new_images_are_never_more_certain_than_these(runs: int) -> None:
    for seed in range(100):
        ours, theirs = drawn(runs, seed)
        seeds = contrast(dict(enumerate(ours.mean(1).tolist())), dict(enumerate(theirs.mean(1).tolist())))
        assert seeds is not None
        both, mean = difference_over_both(ours, theirs, paired=True), summarise(ours.mean(1).tolist())
        if seeds.shown.p is not None and seeds.shown.low is not None:
            assert both.p is not None
            assert both.low is not None
            assert both.p >= seeds.shown.p
            assert both.low <= max(seeds.shown.low, -1.0)
        if mean.low is not None:
            assert interval_over_both(ours).low <= max(mean.low, 0.0)


def test_one_run_against_several_tells_the_mean_alone() -> None:
    ours, theirs = drawn(3)
    found = difference_over_both(ours[:1], theirs, paired=False)
    assert found.mean == pytest.approx(ours[0].mean() - theirs.mean())
    assert (found.low, found.high, found.p) == (None, None, None)


def test_runs_that_answer_alike_have_no_difference_to_test() -> None:
    ours, _ = drawn(3)
    found = difference_over_both(ours, ours, paired=True)
    assert (found.mean, found.low, found.high, found.p) == (0.0, None, None, None)


def test_runs_that_are_always_right_have_an_interval_as_one_of_them_has() -> None:
    assert interval_over_both(np.ones((4, 100), bool)) == Interval(
        low=pytest.approx(wilson(1.0, 100)[0], abs=2e-3), high=1.0
    )


def test_one_image_has_an_interval_within_bounds() -> None:
    for right in (np.array([[True], [False]]), np.array([[True], [True]])):
        found = interval_over_both(right)
        assert 0.0 <= found.low < found.high <= 1.0
