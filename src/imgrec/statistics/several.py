"""Correct p values for multiple comparisons."""

from collections.abc import Sequence


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Return the p values corrected for multiple comparisons (Holm 1979), in their order.

    None stays None and is not counted. Rejecting the values below a level keeps the probability of any false rejection
    below that level.
    """
    known = sorted((p, place) for place, p in enumerate(ps) if p is not None)
    corrected: list[float | None] = [None] * len(ps)
    floor = 0.0
    for rank, (p, place) in enumerate(known):
        floor = max(floor, min(1.0, (len(known) - rank) * p))
        corrected[place] = floor
    return corrected
