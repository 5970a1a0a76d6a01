"""Compute interactions: how far the difference of two settings depends on a condition.

An interaction is (a - b) - (c - d), for two settings under one condition (a, b) and under another (c, d). Where all
four have the same seeds, each seed is a block and gives one value. Else the two settings under a condition are blocks
where both have the same seeds, and whatever is in different blocks counts as independent.
"""

# S runs, N images; 1 where a run classifies an image correctly, else 0

from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from imgrec.statistics.images import Both, sum_over_both
from imgrec.statistics.seeds import Contrast, correlation, paired, signed

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
Four = tuple[Mapping[Key, Value], Mapping[Key, Value], Mapping[Key, Value], Mapping[Key, Value]]
"""By seed: the first setting and the second under the first condition, then both under the second."""
_SIGNS = (1, -1, -1, 1)
_RANGE = (-2.0, 2.0)  # of shares


def interaction(four: Four[Key, float], *, within: tuple[float, float]) -> Contrast | None:
    """Return the interaction over seeds; None if one of the four has no values.

    The contrast's pairs are the seeds that all four have. `unpaired` takes the two conditions as independent, and
    `correlation` is that of their differences.

    Args:
        four: The values.
        within: The possible range of the interaction.
    """
    if not all(four):
        return None
    shared = [key for key in four[0] if all(key in values for values in four)]
    here, there = ({key: one[key] - other[key] for key in shared} for one, other in (four[:2], four[2:]))
    blocks = [*_blocks_of(four, (0, 1)), *_blocks_of(four, (2, 3))]
    return Contrast(
        paired=paired(here, there, within=within),
        unpaired=signed([(1, _sums(four, block)) for block in blocks], within=within),
        correlation=correlation(list(here.values()), list(there.values())),
        is_paired=len(_blocks(four)) == 1,
    )


def interaction_over_both(four: Four[Key, NDArray[np.bool_]]) -> Both:
    """Return the interaction of the shares of correct images for new runs on new images.

    With a single run of one of the four, only the mean is known.

    Args:
        four: bool (N,) for each run, on the same images in the same order.
    """
    groups = [np.stack(_sums(four, block)).astype(np.float64) for block in _blocks(four)]
    if min(map(len, four)) == 1:
        return Both(mean=sum(float(group.mean()) for group in groups), low=None, high=None, p=None, of_runs=True)
    seeds = signed([(1, [float(share) for share in group.mean(1)]) for group in groups], within=_RANGE)
    return sum_over_both(groups, seeds, within=_RANGE)


def _sums(four: Four[Key, Any], block: tuple[int, ...]) -> list[Any]:
    """Return the signed sum of a block's values for each of its seeds."""
    return [sum(_SIGNS[k] * four[k][key] for k in block) for key in four[block[0]]]


def _blocks(four: Four[Key, Value]) -> list[tuple[int, ...]]:
    """Return which of the four are in one block, by their seeds."""
    if all(values.keys() == four[0].keys() for values in four):
        return [(0, 1, 2, 3)]
    return [*_blocks_of(four, (0, 1)), *_blocks_of(four, (2, 3))]


def _blocks_of(four: Four[Key, Value], pair: tuple[int, int]) -> list[tuple[int, ...]]:
    one, other = pair
    return [pair] if four[one].keys() == four[other].keys() else [(one,), (other,)]
