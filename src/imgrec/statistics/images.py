"""Compute intervals and differences of settings where both seeds and test images are random samples.

The model has crossed random effects: an effect of the image, equal for every run; an effect of the run, equal on every
image; and a rest for each pair. The variance of the mean over n runs and N images is s2_runs / n + s2_images / N +
s2_rest / (n N). It is estimated from the mean squares of the two-way table, with its parts not below 0, and with
Satterthwaite's (1946) degrees of freedom (Cornfield & Tukey 1956; Clark 1973 for items of a test). This estimate is too
narrow for two or three seeds. So an interval is never narrower, and a p never smaller, than over the seeds alone.
"""

# S runs, N images; 1 where a run classifies an image correctly, else 0

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, ndtri, stdtr

from imgrec.proportions import wilson
from imgrec.statistics.seeds import LEVEL, Difference, critical, summarise, unpaired
from imgrec.statistics.seeds import paired as paired_over_seeds

Correct = NDArray[np.bool_]
_SHARE = (0.0, 1.0)
_CHANGE = (-1.0, 1.0)
_FEW = 30  # images; with fewer, the variance over images is too uncertain (tests/test_statistics_simulated.py)
_MANY = 1e9  # degrees of freedom at which Student's t is normal


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A 95 % interval of a share, in [0, 1]."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Both:
    """A difference of two shares over new images, in [-1, 1].

    The values `low`, `high` and `p` are None if there is no spread to estimate them from.

    Attributes:
        mean: The difference.
        low: Lower end of the 95 % interval.
        high: Upper end of the 95 % interval.
        p: Two-sided.
        of_runs: True if the runs count as a sample too; False for one run against another, where the statement covers
            only these two runs.
    """

    mean: float
    low: float | None
    high: float | None
    p: float | None
    of_runs: bool

    @property
    def turned(self) -> "Both":
        """The same difference with both sides exchanged."""
        low, high = (None if end is None else -end for end in (self.high, self.low))
        return replace(self, mean=-self.mean, low=low, high=high)


def interval_over_both(correct_sn: Correct) -> Interval:
    """Return the 95 % interval of the share of correct images for new runs on new images.

    For one run, the interval is for that run on new images. The method is Wilson's interval (1927) with the number of
    independent images that corresponds to the estimated variance (as for samples in clusters: Korn & Graubard 1998);
    for one run, Wilson's interval itself. Where fewer than 30 images are wrong (or right) in any of the runs, it is
    never narrower than Wilson's interval of one run.

    Args:
        correct_sn: bool (S, N), at least one of each.
    """
    runs, images = correct_sn.shape
    mean = float(correct_sn.mean())
    of_one = _wilson(mean, images, float(ndtri(1 - LEVEL / 2)))
    if runs == 1:
        return of_one
    variance, df = _variance([correct_sn.astype(np.float64)])
    effective = mean * (1 - mean) / variance if variance > 0 else images
    found = _wilson(mean, effective, critical(df))
    if min(images - int(correct_sn.all(0).sum()), int(correct_sn.any(0).sum())) < _FEW:
        found = Interval(low=min(found.low, of_one.low), high=max(found.high, of_one.high))
    seeds = summarise([float(share) for share in correct_sn.mean(1)], within=_SHARE)
    if seeds.low is None or seeds.high is None:
        return found
    return Interval(low=min(found.low, seeds.low), high=max(found.high, seeds.high))


def difference_over_both(ours_sn: Correct, theirs_sn: Correct, *, paired: bool) -> Both:
    """Return the difference of the shares of correct images, ours less theirs, for new runs on new images.

    For one run against one run, the result is for these two on new images, by McNemar's mid-p test (Fagerland et al.
    2013) and the interval of Bonett & Price (2012). For one run against several, only the mean is known.

    Args:
        ours_sn: bool (S, N).
        theirs_sn: bool (S, N), its own runs on the same images in the same order.
        paired: True if the runs of both are pairs, in the same order.
    """
    mean = float(ours_sn.mean() - theirs_sn.mean())
    runs = min(len(ours_sn), len(theirs_sn))
    if len(ours_sn) == len(theirs_sn) == 1:
        return _run_against_run(ours_sn[0], theirs_sn[0])
    unknown = Both(mean=mean, low=None, high=None, p=None, of_runs=True)
    if runs == 1:
        return unknown
    ours, theirs = ours_sn.astype(np.float64), theirs_sn.astype(np.float64)
    seeds = _over_seeds(ours, theirs, paired=paired)
    return sum_over_both([ours - theirs] if paired else [ours, -theirs], seeds, within=_CHANGE)


def sum_over_both(groups: Sequence[NDArray[np.float64]], seeds: Difference, *, within: tuple[float, float]) -> Both:
    """Return the sum of the groups' means for new runs on new images, never surer than over the seeds alone.

    Args:
        groups: float (S, N) each, S > 1: signed values of runs, or of blocks of runs, that are independent of the other
            groups' and measured on the same images in the same order.
        seeds: The same sum over seeds.
        within: The possible range of the sum.
    """
    mean = sum(float(group.mean()) for group in groups)
    variance, df = _variance(groups)
    if variance <= 0:
        return Both(mean=mean, low=None, high=None, p=None, of_runs=True)
    error = math.sqrt(variance)
    p = 2 * float(stdtr(df, -abs(mean) / error))
    half = critical(df) * error
    low, high = mean - half, mean + half
    if seeds.p is not None and seeds.low is not None and seeds.high is not None:
        low, high, p = min(low, seeds.low), max(high, seeds.high), max(p, seeds.p)
    return Both(mean=mean, low=max(low, within[0]), high=min(high, within[1]), p=min(p, 1.0), of_runs=True)


def _over_seeds(ours: NDArray[np.float64], theirs: NDArray[np.float64], *, paired: bool) -> Difference:
    """Return the difference on these images, over seeds only."""
    shares = [[float(share) for share in side.mean(1)] for side in (ours, theirs)]
    found = paired_over_seeds(dict(enumerate(shares[0])), dict(enumerate(shares[1]))) if paired else None
    return found or unpaired(shares[0], shares[1])


def _variance(groups: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """Return the variance of the sum of the groups' means over runs and common images, and its degrees of freedom.

    Args:
        groups: float (S, N) each, S > 1: signed values of runs, or of blocks of runs, independent between groups.
    """
    images = groups[0].shape[1]
    parts: list[tuple[float, float]] = []  # mean squares as variances of the mean, with their degrees of freedom
    runs_part = rest_part = 0.0
    for values_sn in groups:
        runs = len(values_sn)
        by_run = float(values_sn.mean(1).var(ddof=1)) / runs
        centred = values_sn - values_sn.mean(1, keepdims=True)
        centred -= centred.mean(0)
        df = (runs - 1) * max(images - 1, 1)
        rest = float(np.square(centred).sum()) / df / (runs * images)
        runs_part += max(by_run, rest)  # the variance of runs is not below 0
        rest_part += rest
        parts += [(by_run, runs - 1), (rest, df)]
    by_image_n = sum((values_sn.mean(0) for values_sn in groups), start=np.zeros(images))
    by_image = float(by_image_n.var(ddof=1)) / images if images > 1 else 0.0
    parts.append((by_image, max(images - 1, 1)))
    variance = runs_part + max(by_image, rest_part) - rest_part
    squares = sum(part**2 / df for part, df in parts)
    return variance, min(max(variance**2 / squares, 1.0), _MANY) if squares > 0 else _MANY


def _wilson(share: float, n: float, quantile: float) -> Interval:
    low, high = wilson(share, n, quantile)
    return Interval(low=low, high=high)


def _run_against_run(ours_n: Correct, theirs_n: Correct) -> Both:
    """Compare two networks on new images, by the images that only one of them classifies correctly."""
    images = len(ours_n)
    ours, theirs = int((ours_n & ~theirs_n).sum()), int((theirs_n & ~ours_n).sum())
    # Bonett & Price 2012: Wald's interval after adding one image to each of the two counts
    above, below = (ours + 1) / (images + 2), (theirs + 1) / (images + 2)
    half = float(ndtri(1 - LEVEL / 2)) * math.sqrt((above + below - (above - below) ** 2) / (images + 2))
    return Both(
        mean=(ours - theirs) / images,
        low=max(above - below - half, _CHANGE[0]),
        high=min(above - below + half, _CHANGE[1]),
        p=_mid_p(ours, theirs),
        of_runs=False,
    )


def _mid_p(one: int, other: int) -> float | None:
    """Return McNemar's mid-p: P(fewer than the smaller count) doubled, plus P(exactly that count).

    Returns:
        None if both counts are 0.
    """
    trials, least = one + other, min(one, other)
    if not trials:
        return None
    fewer = _at_most(least - 1, trials)
    return min(1.0, fewer + _at_most(least, trials))


def _at_most(count: int, trials: int) -> float:
    """Return the probability of at most `count` heads in `trials` tosses of a coin."""
    if count < 0:
        return 0.0
    return 1.0 if count >= trials else float(betainc(trials - count, count + 1, 0.5))
