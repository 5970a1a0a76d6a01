"""Compute means and differences of settings over their seeds, on the images that were measured."""

# n runs, one value for each seed

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import TypeVar

import numpy as np
from scipy.special import stdtr, stdtrit

LEVEL = 0.05  # two-sided level of tests and intervals

_NOISE = 1e-9  # relative size below which a spread is a rounding error, not variation

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Mean and sample standard deviation (n - 1) of n values, and the mean's 95 % interval (Student 1908).

    For n = 1, std, low and high are None, as one value gives no information on the spread. Where all values are equal,
    low and high are None for the same reason.
    """

    n: int
    mean: float
    std: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A difference of means, its 95 % interval and the two-sided p of its t test.

    Without a spread (n = 1, or equal differences) low, high and p are None.

    Attributes:
        n: The number of pairs; without pairs, the number of runs in the smaller group.
        mean: The difference of the means.
        std: Of the differences of pairs; None without pairs.
        low: Lower end of the interval.
        high: Upper end of the interval.
        p: Two-sided.
    """

    n: int
    mean: float
    std: float | None
    low: float | None
    high: float | None
    p: float | None

    @property
    def turned(self) -> "Difference":
        """The same difference with both sides exchanged."""
        low, high = (None if end is None else -end for end in (self.high, self.low))
        return replace(self, mean=-self.mean, low=low, high=high)


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Two settings compared by pairs of shared seeds, and by all runs.

    Attributes:
        paired: Student's test of the differences over the seeds that both have; None if they share none.
        unpaired: Welch's test (1947) of all runs, whatever their seeds.
        correlation: Pearson's, over shared seeds; None for fewer than three, or where one side does not vary.
        is_paired: True if both have the same seeds. Then `shown` is `paired`, else `unpaired`. The rule uses seeds and
            never scores, so it changes no error rate.
    """

    paired: Difference | None
    unpaired: Difference
    correlation: float | None
    is_paired: bool

    @property
    def shown(self) -> Difference:
        """The difference that the rule selects."""
        return self.paired if self.is_paired and self.paired is not None else self.unpaired

    @property
    def turned(self) -> "Contrast":
        """The same contrast with both sides exchanged."""
        return replace(self, paired=self.paired.turned if self.paired else None, unpaired=self.unpaired.turned)


def summarise(values: Sequence[float], *, within: tuple[float, float] = (-math.inf, math.inf)) -> Summary:
    """Return the mean of the values and its interval.

    Args:
        values: The values.
        within: The possible range of the mean. The interval is cut there. The true mean cannot lie in the part that is
            cut off, so the interval contains it as often as before.

    Raises:
        ValueError: There are no values.
    """
    return _summary(values, max(map(abs, values), default=0.0), within)


def contrast(
    values: Mapping[Key, float],
    baseline: Mapping[Key, float],
    *,
    within: tuple[float, float] = (-math.inf, math.inf),
) -> Contrast | None:
    """Return values - baseline, by pairs of shared keys (seeds) and by all values; None if one side has no values."""
    if not values or not baseline:
        return None
    shared = [key for key in values if key in baseline]
    return Contrast(
        paired=paired(values, baseline, within=within),
        unpaired=unpaired(list(values.values()), list(baseline.values()), within=within),
        correlation=correlation([values[key] for key in shared], [baseline[key] for key in shared]),
        is_paired=values.keys() == baseline.keys(),
    )


def paired(
    values: Mapping[Key, float],
    baseline: Mapping[Key, float],
    *,
    within: tuple[float, float] = (-math.inf, math.inf),
) -> Difference | None:
    """Return values - baseline over the keys (seeds) that both have; None if they share none."""
    shared = [key for key in values if key in baseline]
    if not shared:
        return None
    size = max(max(abs(values[key]), abs(baseline[key])) for key in shared)
    summary = _summary([values[key] - baseline[key] for key in shared], size, within)
    p = None
    if summary.std:
        p = _two_sided(summary.mean / (summary.std / math.sqrt(summary.n)), summary.n - 1)
    return Difference(n=summary.n, mean=summary.mean, std=summary.std, low=summary.low, high=summary.high, p=p)


def unpaired(
    values: Sequence[float], baseline: Sequence[float], *, within: tuple[float, float] = (-math.inf, math.inf)
) -> Difference:
    """Return the difference of the means of all values, by Welch's t test (1947), which does not assume equal spreads.

    Raises:
        ValueError: One side has no values.
    """
    return signed([(1, values), (-1, baseline)], within=within)


def signed(
    groups: Sequence[tuple[int, Sequence[float]]], *, within: tuple[float, float] = (-math.inf, math.inf)
) -> Difference:
    """Return the sum of the means of independent groups, each with its sign 1 or -1, by Welch's t test (1947).

    For one group it is Student's. The spreads may differ. `std` is None.

    Args:
        groups: Signs and values.
        within: The possible range of the sum.

    Raises:
        ValueError: A group has no values.
    """
    sides = [summarise(values) for _, values in groups]
    n = min(side.n for side in sides)
    mean = sum(sign * side.mean for (sign, _), side in zip(groups, sides, strict=True))
    size = max(abs(value) for _, values in groups for value in values)
    spreads = [(side.std or 0.0) / math.sqrt(side.n) for side in sides]
    error = math.hypot(*spreads)
    if n == 1 or error <= _NOISE * size:
        return Difference(n=n, mean=mean, std=None, low=None, high=None, p=None)
    shares = [(spread / error) ** 2 for spread in spreads]
    df = 1 / sum(share**2 / (side.n - 1) for share, side in zip(shares, sides, strict=True))
    half = critical(df) * error
    low, high = max(mean - half, within[0]), min(mean + half, within[1])
    return Difference(n=n, mean=mean, std=None, low=low, high=high, p=_two_sided(mean / error, df))


def critical(df: float, level: float = LEVEL) -> float:
    """Return the value that |t| exceeds with probability `level` under Student's t with df degrees of freedom."""
    return float(stdtrit(df, 1 - level / 2))


def _two_sided(t: float, df: float) -> float:
    return min(1.0, 2 * float(stdtr(df, -abs(t))))


def _summary(values: Sequence[float], size: float, within: tuple[float, float]) -> Summary:
    """Summarise values.

    Args:
        values: The values.
        size: The magnitude of the numbers that the values come from, which determines the size of rounding errors.
        within: The possible range of the mean.
    """
    if not values:
        raise ValueError("values must not be empty: a mean needs one at least")
    n = len(values)
    scale = math.ldexp(1.0, math.frexp(size)[1] - 1)  # a power of two is exact; squares of large losses overflow
    mean = scale * fmean(value / scale for value in values)
    if n == 1:
        return Summary(n=1, mean=mean, std=None, low=None, high=None)
    std = scale * stdev(value / scale for value in values)
    if std <= _NOISE * size:
        return Summary(n=n, mean=mean, std=0.0, low=None, high=None)
    half = critical(n - 1) * std / math.sqrt(n)
    return Summary(n=n, mean=mean, std=std, low=max(mean - half, within[0]), high=min(mean + half, within[1]))


def correlation(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Return Pearson's correlation of pairs; None for fewer than three, or where one side does not vary."""
    sides = [_summary(side, max(map(abs, side)), (-math.inf, math.inf)) for side in (ours, theirs) if side]
    if len(ours) < 3 or not all(side.std for side in sides):
        return None
    scaled = [
        (np.asarray(values) - side.mean) / (side.std or 1.0) for values, side in zip((ours, theirs), sides, strict=True)
    ]
    return float(np.clip(np.dot(*scaled) / (len(ours) - 1), -1.0, 1.0))
