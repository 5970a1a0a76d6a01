"""Intervals of proportions. Imports no torch."""

import math

NORMAL = 1.959963984540054  # the 97.5 % quantile of the normal distribution


def wilson(share: float, n: float, quantile: float = NORMAL) -> tuple[float, float]:
    """Return the interval of a proportion (Wilson 1927), 95 % by default.

    Args:
        share: The proportion that was seen, in [0, 1].
        n: The number of trials.
        quantile: Of the distribution that decides the interval's width.
    """
    t = quantile
    centre = (share + t * t / (2 * n)) / (1 + t * t / n)
    half = t / (1 + t * t / n) * math.sqrt(share * (1 - share) / n + t * t / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)
