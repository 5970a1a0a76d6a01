"""Compute the smallest difference that n seeds can detect, and the number of seeds that a difference needs."""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, ndtr, stdtr

from imgrec.statistics.seeds import LEVEL, critical, paired, summarise

POWER = 0.8  # the share of repetitions in which a difference should be seen (Cohen 1988, section 2.4)
MOST_SEEDS = 10_000  # above it, the answer is that no practical number of seeds is enough

_QUANTILES = 4096  # quantiles of the distribution that power is averaged over; enough for five digits

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """The 95 % interval of a standard deviation (by the chi-squared distribution of its square)."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The observed spread of two settings, which determines what n seeds each can distinguish.

    Attributes:
        std: Above 0; of the differences by seed if `is_paired`, else one setting's, pooled.
        is_paired: True if both have the same seeds.
        df: Degrees of freedom of the estimate of `std`.
    """

    std: float
    is_paired: bool
    df: int = 1

    def power(self, effect: float, n: int) -> float:
        """Return the probability that a two-sided t test at 5 % with n seeds each detects a true difference `effect`.

        It is 0 for n < 2. The noncentral t distribution is computed as a normal one averaged over the spread that n
        seeds may show (Student's own derivation), as scipy.special.nctdtr returns nan for many moderate effects.
        """
        if n < 2:
            return 0.0
        df = self._df(n)
        shift = abs(effect) / self.std * math.sqrt(n if self.is_paired else n / 2)
        bound = critical(df) * _spreads(df)
        return float(np.mean(ndtr(shift - bound) + ndtr(-shift - bound)))

    def detectable(self, n: int) -> float | None:
        """Return the smallest true difference that n seeds each detect with probability 80 %; None for n < 2.

        It is found by bisection.
        """
        if n < 2:
            return None
        low, high = 0.0, self.std
        while self.power(high, n) < POWER:
            high *= 2
        for _ in range(40):  # halvings: twelve digits
            middle = (low + high) / 2
            low, high = (middle, high) if self.power(middle, n) < POWER else (low, middle)
        return high

    def p_of_detectable(self, n: int) -> float | None:
        """Return the two-sided p of an observed difference as large as `detectable(n)`; None for n < 2."""
        least = self.detectable(n)
        if least is None:
            return None
        return 2 * float(stdtr(self._df(n), -least / self.std * math.sqrt(n if self.is_paired else n / 2)))

    def seeds_for(self, effect: float) -> int | None:
        """Return the smallest number of seeds each that detect `effect` with probability 80 %.

        Returns:
            None if more than 10 000 are needed, or the effect is 0.
        """
        if not effect or self.power(effect, MOST_SEEDS) < POWER:
            return None
        low, high = 1, MOST_SEEDS
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.power(effect, middle) >= POWER else (middle, high)
        return high

    def deviation(self) -> Deviation:
        """Return the 95 % interval of the true standard deviation."""
        squares = self.df * self.std**2
        # chi-squared quantiles are twice the quantiles of the gamma distribution of half the degrees of freedom
        low, high = (2 * float(gammaincinv(self.df / 2, share)) for share in (1 - LEVEL / 2, LEVEL / 2))
        return Deviation(low=math.sqrt(squares / low), high=math.sqrt(squares / high))

    def seeds_range(self, effect: float) -> tuple[int | None, int | None]:
        """Return `seeds_for` at both ends of the deviation's interval."""
        ends = self.deviation()
        low, high = (
            Comparison(std=std, is_paired=self.is_paired, df=self.df).seeds_for(effect) for std in (ends.low, ends.high)
        )
        return low, high

    def _df(self, n: int) -> int:
        return n - 1 if self.is_paired else 2 * n - 2


@cache
def _spreads(df: int) -> NDArray[np.float64]:
    """Return sample standard deviations of a standard normal at evenly spaced quantiles: sqrt(chi-squared / df)."""
    shares = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    spreads: NDArray[np.float64] = np.sqrt(2 * gammaincinv(df / 2, shares) / df)
    return spreads


def compare(values: Mapping[Key, float], others: Mapping[Key, float]) -> Comparison | None:
    """Return the spread of two settings: by pairs if both have the same seeds, else pooled; None if nothing varies."""
    difference = paired(values, others)
    if difference is not None and difference.std and values.keys() == others.keys():
        return Comparison(std=difference.std, is_paired=True, df=difference.n - 1)
    groups = [summarise(list(group.values())) for group in (values, others) if len(group) > 1]
    squares = sum((group.n - 1) * group.std**2 for group in groups if group.std)
    if not squares:
        return None
    df = sum(group.n - 1 for group in groups)
    return Comparison(std=math.sqrt(squares / df), is_paired=False, df=df)
