"""Test the statistics of a few runs against SciPy, definitions, simulation and cases by hand."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from imgrec.statistics import (
    POWER,
    Comparison,
    Difference,
    Summary,
    compare,
    contrast,
    critical,
    holm,
    paired,
    summarise,
    unpaired,
)

seeded = settings(max_examples=60, deadline=None, database=None, derandomize=True)

DIGITS = 1e-4  # that a power is right to

scores = st.integers(0, 10_000).map(lambda hits: hits / 100)  # top1 in percent, of 10 000 images
several = st.lists(scores, min_size=2, max_size=12)
probabilities = st.floats(0, 1)
ratios = st.floats(0.03, 200)  # effects in standard deviations


def by_seed(values: Sequence[float]) -> dict[int, float]:
    return dict(enumerate(values))


def comparison(std: float = 1.0, *, is_paired: bool = True, df: int = 1) -> Comparison:
    return Comparison(std=std, is_paired=is_paired, df=df)


def power_by_definition(ratio: float, n: int, *, is_paired: bool) -> float:
    """P(|T| > t), T = (Z + shift) / (chi / sqrt(df)), integrated over chi."""
    df, shift = (n - 1, ratio * math.sqrt(n)) if is_paired else (2 * n - 2, ratio * math.sqrt(n / 2))
    t = stats.t.ppf(0.975, df)
    chi = stats.chi(df)

    def density_of_rejection(x: float) -> float:
        bound = t * x / math.sqrt(df)
        return float(chi.pdf(x) * (stats.norm.sf(bound - shift) + stats.norm.cdf(-bound - shift)))

    end = float(chi.isf(1e-13))
    turns = sorted({min(end, place) for place in (shift / t * math.sqrt(df), chi.mean())})
    return float(integrate.quad(density_of_rejection, 0, end, points=turns, limit=300)[0])


def simulated_power(ratio: float, n: int, *, is_paired: bool, repetitions: int = 20_000) -> float:
    """The share of two-sided t tests at 5 % that see a shift of `ratio` standard deviations."""
    random = np.random.default_rng(0)
    values_rn = random.normal(ratio, 1, (repetitions, n))
    if is_paired:
        p_r = stats.ttest_1samp(values_rn, 0, axis=1).pvalue
    else:
        p_r = stats.ttest_ind(values_rn, random.normal(0, 1, (repetitions, n)), axis=1).pvalue
    return float((p_r < 0.05).mean())


@given(several)
@seeded
def test_mean_deviation_and_interval_are_scipy_s(values: list[float]) -> None:
    summary = summarise(values)
    assert summary.n == len(values)
    assert summary.mean == pytest.approx(np.mean(values))
    assert summary.std == pytest.approx(np.std(values, ddof=1), abs=1e-9)
    assume(len(set(values)) > 1)
    interval = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (summary.low, summary.high) == pytest.approx(interval)


def test_an_interval_by_hand() -> None:
    """Three values around 91 with deviation 1: 91 ± 4.303 / sqrt(3), from any table of Student's t."""
    summary = summarise([90.0, 91.0, 92.0])
    assert (summary.mean, summary.std) == (91.0, 1.0)
    assert (summary.low, summary.high) == pytest.approx(
        (91 - 4.3027 / math.sqrt(3), 91 + 4.3027 / math.sqrt(3)), abs=1e-4
    )


def test_one_value_tells_nothing_of_the_spread() -> None:
    assert summarise([91.0]) == Summary(n=1, mean=91.0, std=None, low=None, high=None)


def test_equal_values_tell_nothing_of_the_spread_either() -> None:
    assert summarise([91.0, 91.0, 91.0]) == Summary(n=3, mean=91.0, std=0.0, low=None, high=None)


def test_no_values_have_no_mean() -> None:
    with pytest.raises(ValueError, match="values must not be empty"):
        summarise([])


@pytest.mark.parametrize("size", [3.4e38, 1e200], ids=str)
def test_diverged_losses_of_any_size_have_a_mean(size: float) -> None:
    summary = summarise([size, size / 2, size])
    assert summary.mean == pytest.approx(size / 6 * 5)
    assert summary.std == pytest.approx(stdev([1.0, 0.5, 1.0]) * size)


@given(st.lists(st.tuples(scores, scores), min_size=2, max_size=12))
@seeded
def test_differences_are_scipy_s_paired_t_test(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = zip(*pairs, strict=True)
    assume(len({round(100 * (one - other)) for one, other in pairs}) > 1)
    difference = paired(by_seed(ours), by_seed(theirs))
    expected = stats.ttest_rel(ours, theirs)
    assert difference is not None
    assert difference.n == len(pairs)
    assert difference.mean == pytest.approx(np.mean(ours) - np.mean(theirs), abs=1e-9)
    assert difference.std == pytest.approx(np.std(np.subtract(ours, theirs), ddof=1))
    assert (difference.low, difference.high) == pytest.approx(expected.confidence_interval(0.95), abs=1e-9)
    assert difference.p == pytest.approx(expected.pvalue, abs=1e-12)


@given(st.lists(st.tuples(scores, scores), min_size=1, max_size=8))
@seeded
def test_what_is_compared_the_other_way_round_is_the_same_with_the_other_sign(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = (by_seed(side) for side in zip(*pairs, strict=True))
    there, back = paired(ours, theirs), paired(theirs, ours)
    assert there is not None
    assert back is not None
    assert (back.mean, back.p, back.std) == (-there.mean, there.p, there.std)
    if there.low is not None and there.high is not None:
        assert (back.low, back.high) == (-there.high, -there.low)


def test_only_seeds_that_both_have_are_compared() -> None:
    difference = paired({0: 1.0, 1: 3.0, 3: 4.0, 7: 99.0}, {3: 1.0, 1: 1.0, 0: 0.0, 2: 50.0})
    assert difference is not None
    assert (difference.n, difference.mean, difference.std) == (3, 2.0, 1.0)
    assert paired({0: 1.0}, {1: 1.0}) is None


def test_one_pair_has_a_difference_and_no_p() -> None:
    assert paired({4: 92.5, 5: 1.0}, {4: 91.0}) == Difference(n=1, mean=1.5, std=None, low=None, high=None, p=None)


def test_pairs_without_any_difference_have_no_p() -> None:
    values = by_seed([91.0, 92.5, 90.3])
    assert paired(values, values) == Difference(n=3, mean=0.0, std=0.0, low=None, high=None, p=None)


@given(st.lists(st.integers(5_000, 9_000), min_size=2, max_size=8), st.integers(-900, 900))
@seeded
def test_differences_that_are_all_the_same_have_no_p_whatever_their_floats_say(hits: list[int], more: int) -> None:
    """8053 - 8045 and 6570 - 6562 of 10 000 images are the same 0.08 %, except for the last bits of their floats."""
    better = {seed: (count + more) / 10_000 * 100 for seed, count in enumerate(hits)}
    difference = paired(better, {seed: count / 10_000 * 100 for seed, count in enumerate(hits)})
    assert difference is not None
    assert difference.mean == pytest.approx(more / 100)
    assert difference.p is None


def test_a_spread_of_floats_last_bits_is_none() -> None:
    """The pooled spread of the two settings is used instead, as with differences that are exactly equal."""
    hits = (8045, 6562, 6499)
    found = compare(
        {seed: (count + 8) / 10_000 * 100 for seed, count in enumerate(hits)},
        {seed: count / 10_000 * 100 for seed, count in enumerate(hits)},
    )
    assert found is not None
    assert found.is_paired is False
    assert found.std == pytest.approx(stdev(count / 100 for count in hits))


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_what_has_no_p_stays_without_and_counts_for_none() -> None:
    corrected = holm([None, 0.01, None, 0.04])
    assert corrected[0] is corrected[2] is None
    assert (corrected[1], corrected[3]) == pytest.approx((0.02, 0.04))
    assert holm([None, None]) == [None, None]


@given(st.lists(probabilities, min_size=1, max_size=6))
@seeded
def test_holm_is_the_closure_of_bonferroni_s_tests(ps: list[float]) -> None:
    """A corrected p is the largest of Bonferroni's over all sets of hypotheses with its own (Marcus et al. 1976)."""
    sets = [[k for k in range(len(ps)) if mask >> k & 1] for mask in range(1, 2 ** len(ps))]
    bonferroni = [min(1.0, len(chosen) * min(ps[k] for k in chosen)) for chosen in sets]
    expected = [max(p for p, chosen in zip(bonferroni, sets, strict=True) if k in chosen) for k in range(len(ps))]
    assert holm(ps) == pytest.approx(expected)


@given(st.lists(st.none() | probabilities, max_size=20))
@seeded
def test_a_corrected_p_is_never_smaller_and_keeps_the_order(ps: list[float | None]) -> None:
    corrected = holm(ps)
    pairs = [(p, q) for p, q in zip(ps, corrected, strict=True) if p is not None and q is not None]
    assert [q is None for q in corrected] == [p is None for p in ps]
    assert all(p <= q <= 1 for p, q in pairs)
    ordered = [q for _, q in sorted(pairs)]
    assert ordered == sorted(ordered)


@pytest.mark.parametrize("df", [1, 2, 4, 29, 9_999])
@pytest.mark.parametrize("level", [0.05, 0.01])
def test_critical_values_are_scipy_s(df: int, level: float) -> None:
    assert critical(df, level) == pytest.approx(stats.t.isf(level / 2, df))


@given(st.floats(0.01, 2), st.integers(2, 40), st.booleans(), st.floats(0.01, 100))
@seeded
def test_power_is_scipy_s_noncentral_t(ratio: float, n: int, is_paired: bool, std: float) -> None:
    df, shift = (n - 1, ratio * math.sqrt(n)) if is_paired else (2 * n - 2, ratio * math.sqrt(n / 2))
    t = stats.t.isf(0.025, df)
    expected = stats.nct.sf(t, df, shift) + stats.nct.cdf(-t, df, shift)
    assume(math.isfinite(expected))  # SciPy's own has holes, which the tests by definition fill
    found = comparison(std, is_paired=is_paired)
    assert found.power(ratio * std, n) == pytest.approx(expected, abs=DIGITS)
    assert found.power(-ratio * std, n) == found.power(ratio * std, n), "a difference counts whichever way it goes"


@pytest.mark.parametrize("is_paired", [True, False])
@pytest.mark.parametrize(
    ("ratio", "n"),
    [(0.05, 2), (0.5, 5), (1.0, 10), (3.0, 4), (3.0, 100), (3.0, 300), (20.0, 2), (30.0, 2), (50.0, 3), (0.03, 9_000)],
)
def test_power_follows_from_its_definition_for_small_and_large_effects(ratio: float, n: int, is_paired: bool) -> None:
    expected = power_by_definition(ratio, n, is_paired=is_paired)
    assert comparison(is_paired=is_paired).power(ratio, n) == pytest.approx(expected, abs=DIGITS)


@pytest.mark.parametrize("is_paired", [True, False])
@pytest.mark.parametrize(("ratio", "n"), [(0.0, 4), (1.0, 5), (2.0, 4), (0.6, 20)])
def test_power_is_the_share_of_simulated_tests_that_see_the_difference(ratio: float, n: int, is_paired: bool) -> None:
    expected = comparison(is_paired=is_paired).power(ratio, n)
    error = math.sqrt(expected * (1 - expected) / 20_000)  # of a share of 20 000 repetitions
    assert simulated_power(ratio, n, is_paired=is_paired) == pytest.approx(expected, abs=4 * error)


@given(ratios, st.integers(2, 9_999), st.booleans())
@seeded
def test_power_is_a_probability_that_more_seeds_and_larger_effects_raise(ratio: float, n: int, is_paired: bool) -> None:
    found = comparison(is_paired=is_paired)
    power = found.power(ratio, n)
    assert 0.05 <= power <= 1
    assert found.power(ratio, n + 1) >= power - 1e-9
    assert found.power(1.5 * ratio, n) >= power - 1e-9


def test_one_seed_sees_nothing() -> None:
    assert comparison().power(100.0, 1) == 0.0
    assert comparison().detectable(1) is None


@given(st.integers(2, 2_000), st.booleans(), st.floats(0.01, 50))
@settings(seeded, max_examples=25)  # a bisection of a bisection
def test_the_least_difference_that_n_seeds_see_needs_just_these_seeds(n: int, is_paired: bool, std: float) -> None:
    found = comparison(std, is_paired=is_paired)
    least = found.detectable(n)
    assert least is not None
    assert found.power(least, n) == pytest.approx(POWER, abs=1e-9)
    assert found.power(least, n) >= POWER
    assert found.seeds_for(least) == n


@given(ratios, st.booleans())
@seeded
@pytest.mark.long
def test_the_seeds_that_an_effect_needs_see_it_and_one_less_does_not(ratio: float, is_paired: bool) -> None:
    assume(is_paired or ratio > 0.04)
    n = comparison(is_paired=is_paired).seeds_for(ratio)
    assert n is not None
    assert power_by_definition(ratio, n, is_paired=is_paired) >= POWER - DIGITS
    assert n == 2 or power_by_definition(ratio, n - 1, is_paired=is_paired) < POWER + DIGITS


@pytest.mark.parametrize(
    ("ratio", "is_paired", "n"),
    [(1.0, True, 10), (1.0, False, 17), (0.5, True, 34), (0.5, False, 64), (0.2, True, 199), (0.2, False, 394)],
)
def test_numbers_of_seeds_are_those_of_the_textbook(ratio: float, is_paired: bool, n: int) -> None:
    """Cohen 1988, table 2.4.1, for two groups (up to his rounding: 17, 64, 393); G*Power's for pairs."""
    assert comparison(is_paired=is_paired).seeds_for(ratio) == n


def test_no_number_of_seeds_shows_no_difference_or_one_out_of_reach() -> None:
    assert comparison().seeds_for(0.0) is None
    assert comparison().seeds_for(0.02) is None
    assert comparison().seeds_for(-1.0) == comparison().seeds_for(1.0)


def test_the_same_seeds_compare_by_their_differences() -> None:
    found = compare({0: 91.0, 1: 93.0, 2: 92.0}, {0: 90.0, 1: 91.0, 2: 89.0})
    assert found == comparison(1.0, is_paired=True, df=2)


@pytest.mark.parametrize(
    ("others", "std"),
    [
        ({5: 80.0, 6: 84.0}, math.sqrt((2 * 1 + 1 * 8) / 3)),  # no seed is shared
        ({0: 80.0, 1: 84.0}, math.sqrt((2 * 1 + 1 * 8) / 3)),  # not all of them
        ({0: 80.0}, 1.0),  # one value has no spread of its own
        ({0: 80.0, 1: 81.0, 2: 82.0}, 1.0),  # all differences are the same
    ],
)
def test_else_the_spreads_are_pooled(others: dict[int, float], std: float) -> None:
    found = compare({0: 90.0, 1: 91.0, 2: 92.0}, others)
    assert found is not None
    assert found.is_paired is False
    assert found.std == pytest.approx(std)


@pytest.mark.parametrize(
    ("values", "others"),
    [
        ({0: 90.0}, {0: 91.0}),
        ({0: 90.0}, {1: 91.0}),
        ({0: 90.0, 1: 90.0}, {0: 91.0, 1: 91.0}),  # whatever the seed
        ({0: 90.0, 1: 90.0}, {2: 91.0}),
    ],
)
def test_where_nothing_varies_there_is_no_spread_to_compare_with(
    values: dict[int, float], others: dict[int, float]
) -> None:
    assert compare(values, others) is None


@given(several, several)
@seeded
def test_the_pooled_spread_is_the_one_of_scipy_s_unpaired_t_test(ours: list[float], theirs: list[float]) -> None:
    assume(len(set(ours)) > 1)
    assume(len(set(theirs)) > 1)
    found = compare(by_seed(ours), {seed + 100: value for seed, value in enumerate(theirs)})
    assert found is not None
    expected = stats.ttest_ind(ours, theirs).statistic
    error = found.std * math.sqrt(1 / len(ours) + 1 / len(theirs))
    assert (fmean(ours) - fmean(theirs)) / error == pytest.approx(expected, abs=1e-9)


@given(several, several)
@seeded
def test_unpaired_differences_are_scipy_s_welch_test(ours: list[float], theirs: list[float]) -> None:
    assume(len(set(ours)) > 1)  # SciPy warns of sides without a spread
    assume(len(set(theirs)) > 1)
    found = unpaired(ours, theirs)
    expected = stats.ttest_ind(ours, theirs, equal_var=False)
    assert found.n == min(len(ours), len(theirs))
    assert found.mean == pytest.approx(fmean(ours) - fmean(theirs), abs=1e-9)
    assert found.p == pytest.approx(expected.pvalue, abs=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)), abs=1e-6)


def test_unpaired_differences_of_one_run_or_without_a_spread_have_no_p() -> None:
    for ours, theirs in (([91.0], [90.0, 89.0]), ([91.0, 91.0], [90.0, 90.0])):
        found = unpaired(ours, theirs)
        assert (found.low, found.high, found.p) == (None, None, None)


def test_settings_pair_only_where_both_have_the_same_seeds() -> None:
    ours = {0: 91.0, 1: 93.0, 2: 92.0}
    same = contrast(ours, {0: 90.0, 1: 91.0, 2: 92.0})
    assert same is not None
    assert same.is_paired
    assert same.shown is same.paired
    for others in ({0: 90.0, 1: 91.0}, {0: 90.0, 1: 91.0, 2: 92.0, 3: 90.0}, {7: 90.0, 8: 91.0, 9: 92.0}):
        found = contrast(ours, others)
        assert found is not None
        assert not found.is_paired
        assert found.shown is found.unpaired
    assert contrast(ours, {}) is None


@given(st.lists(st.tuples(scores, scores), min_size=3, max_size=12))
@seeded
def test_the_correlation_is_scipy_s(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = zip(*pairs, strict=True)
    assume(len(set(ours)) > 1)
    assume(len(set(theirs)) > 1)
    found = contrast(by_seed(ours), by_seed(theirs))
    assert found is not None
    assert found.correlation == pytest.approx(stats.pearsonr(ours, theirs).statistic, abs=1e-6)


def test_two_pairs_or_a_constant_side_have_no_correlation() -> None:
    for ours, theirs in (([1.0, 2.0], [2.0, 3.0]), ([1.0, 2.0, 3.0], [5.0, 5.0, 5.0])):
        found = contrast(by_seed(ours), by_seed(theirs))
        assert found is not None
        assert found.correlation is None


def test_an_interval_ends_where_the_mean_cannot_lie() -> None:
    shares = [90.0, 92.0]
    assert summarise(shares).high == pytest.approx(91 + 12.7062, abs=1e-4)
    assert summarise(shares, within=(0.0, 100.0)).high == 100.0
    assert summarise(shares, within=(0.0, 100.0)).low == summarise(shares).low
    difference = contrast(by_seed([90.0, 99.0]), by_seed([1.0, 2.0]), within=(-100.0, 100.0))
    assert difference is not None
    assert difference.paired is not None
    assert (difference.paired.high, difference.unpaired.high) == (100.0, 100.0)


@pytest.mark.parametrize("df", [1, 4, 9, 58])
def test_the_interval_of_a_deviation_is_that_of_the_chi_squared_distribution(df: int) -> None:
    found = comparison(2.0, df=df).deviation()
    assert found.low == pytest.approx(2 * math.sqrt(df / stats.chi2.ppf(0.975, df)))
    assert found.high == pytest.approx(2 * math.sqrt(df / stats.chi2.ppf(0.025, df)))


def test_seeds_needed_are_a_range_as_the_deviation_is_an_estimate() -> None:
    """Five pairs whose differences have mean 0.611 and deviation 0.843: 17 seeds, or 8, or 126."""
    found = comparison(0.8433, df=4)
    assert found.seeds_for(0.6111) == 17
    assert found.seeds_range(0.6111) == (8, 126)
    assert comparison(1.0, df=1).seeds_range(0.5)[1] is None, "beyond reach"


@pytest.mark.parametrize("is_paired", [True, False])
def test_the_p_of_a_detectable_difference_is_that_of_its_t(is_paired: bool) -> None:
    for n in (2, 5, 30):
        found = comparison(3.0, is_paired=is_paired)
        least, df = found.detectable(n), (n - 1 if is_paired else 2 * n - 2)
        assert least is not None
        t = least / 3.0 * math.sqrt(n if is_paired else n / 2)
        assert found.p_of_detectable(n) == pytest.approx(2 * stats.t.sf(t, df))
    assert comparison().p_of_detectable(1) is None
