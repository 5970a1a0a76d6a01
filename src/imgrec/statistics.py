"""What a few runs can tell: means, intervals, paired differences, corrected p values, power. Imports no torch.

Distributions come from scipy.special, which loads in a fraction of the time of scipy.stats.
"""

# n runs, one value a seed

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, stdev
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, ndtr, stdtr, stdtrit

LEVEL = 0.05  # two-sided, of tests and intervals
POWER = 0.8  # the share of repetitions in which a difference should be seen (Cohen 1988, section 2.4)
MOST_SEEDS = 10_000  # beyond it, the answer is that no number of seeds in reach would do

_NOISE = 1e-9  # share of the values below which a spread is rounding, not variation
_QUANTILES = 4096  # of the distribution that power is averaged over: five digits

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Mean and sample standard deviation (n - 1) of n values, and the mean's 95 % interval (Student 1908).

    std, low and high are None for n = 1, which tells nothing of the spread; low and high also where all values are
    equal, as they tell nothing of it either.
    """

    n: int
    mean: float
    std: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The mean of n differences pair by pair, its 95 % interval and the two-sided p of a paired t test.

    std: of the differences. Without a spread (n = 1, or equal differences) low, high and p are None.
    """

    n: int
    mean: float
    std: float | None
    low: float | None
    high: float | None
    p: float | None


def summarise(values: Sequence[float]) -> Summary:
    """Raises ValueError without values."""
    return _summary(values, max(map(abs, values), default=0.0))


def paired(values: Mapping[Key, float], baseline: Mapping[Key, float]) -> Difference | None:
    """Values - baseline over the keys (seeds) that both have; None when they share none."""
    shared = [key for key in values if key in baseline]
    if not shared:
        return None
    size = max(max(abs(values[key]), abs(baseline[key])) for key in shared)
    summary = _summary([values[key] - baseline[key] for key in shared], size)
    p = None
    if summary.std:
        t = summary.mean / (summary.std / math.sqrt(summary.n))
        p = min(1.0, 2 * float(stdtr(summary.n - 1, -abs(t))))
    return Difference(n=summary.n, mean=summary.mean, std=summary.std, low=summary.low, high=summary.high, p=p)


def _summary(values: Sequence[float], size: float) -> Summary:
    """size: of the numbers that the values come from, beside which rounding is judged."""
    if not values:
        raise ValueError("values must not be empty: a mean needs one at least")
    n = len(values)
    scale = math.ldexp(1.0, math.frexp(size)[1] - 1)  # a power of two is exact; large losses have infinite squares
    mean = scale * fmean(value / scale for value in values)
    if n == 1:
        return Summary(n=1, mean=mean, std=None, low=None, high=None)
    std = scale * stdev(value / scale for value in values)
    if std <= _NOISE * size:
        return Summary(n=n, mean=mean, std=0.0, low=None, high=None)
    half = critical(n - 1) * std / math.sqrt(n)
    return Summary(n=n, mean=mean, std=std, low=mean - half, high=mean + half)


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """The p values corrected for being several (Holm 1979), in their order; None stays None and is not counted.

    Rejecting what lies below a level keeps the chance of any false rejection below that level.
    """
    known = sorted((p, place) for place, p in enumerate(ps) if p is not None)
    corrected: list[float | None] = [None] * len(ps)
    floor = 0.0
    for rank, (p, place) in enumerate(known):
        floor = max(floor, min(1.0, (len(known) - rank) * p))
        corrected[place] = floor
    return corrected


def critical(df: float, level: float = LEVEL) -> float:
    """What |t| exceeds with probability `level` under Student's t with df degrees of freedom."""
    return float(stdtrit(df, 1 - level / 2))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two settings' observed spread, from which follows what n seeds each can tell apart.

    std: above 0; of the differences by seed where `is_paired`, else one setting's, pooled.
    """

    std: float
    is_paired: bool

    def power(self, effect: float, n: int) -> float:
        """The chance that a two-sided t test at 5 % sees a true difference `effect` with n seeds each; 0 for n < 2.

        The noncentral t distribution, as a normal one averaged over the spread that n seeds may show (Student's own
        derivation): scipy.special.nctdtr is not a number for many moderate effects.
        """
        if n < 2:
            return 0.0
        df = n - 1 if self.is_paired else 2 * n - 2
        shift = abs(effect) / self.std * math.sqrt(n if self.is_paired else n / 2)
        bound = critical(df) * _spreads(df)
        return float(np.mean(ndtr(shift - bound) + ndtr(-shift - bound)))

    def detectable(self, n: int) -> float | None:
        """The least true difference that n seeds each see with a chance of 80 %; None for n < 2. By bisection."""
        if n < 2:
            return None
        low, high = 0.0, self.std
        while self.power(high, n) < POWER:
            high *= 2
        for _ in range(40):  # halvings: twelve digits
            middle = (low + high) / 2
            low, high = (middle, high) if self.power(middle, n) < POWER else (low, middle)
        return high

    def seeds_for(self, effect: float) -> int | None:
        """The least number of seeds each that see `effect` with a chance of 80 %; None beyond 10 000, or for none."""
        if not effect or self.power(effect, MOST_SEEDS) < POWER:
            return None
        low, high = 1, MOST_SEEDS
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.power(effect, middle) >= POWER else (middle, high)
        return high


@cache
def _spreads(df: int) -> NDArray[np.float64]:
    """Sample standard deviations of a standard normal, at evenly spaced quantiles: sqrt(chi-squared / df)."""
    shares = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    spreads: NDArray[np.float64] = np.sqrt(2 * gammaincinv(df / 2, shares) / df)
    return spreads


def compare(values: Mapping[Key, float], others: Mapping[Key, float]) -> Comparison | None:
    """The spread of two settings: by pairs where shared seeds differ, else pooled; None where nothing varies."""
    difference = paired(values, others)
    if difference is not None and difference.std:
        return Comparison(std=difference.std, is_paired=True)
    groups = [summarise(list(group.values())) for group in (values, others) if len(group) > 1]
    squares = sum((group.n - 1) * group.std**2 for group in groups if group.std)
    if not squares:
        return None
    return Comparison(std=math.sqrt(squares / sum(group.n - 1 for group in groups)), is_paired=False)
