"""Compute the next value of a tuning beyond an end of the tried values. Imports no torch."""

import itertools
from collections.abc import Sequence

from imgrec.tuning_file import number

_DIGITS = 6  # significant digits of a computed value: 0.1 * 3 is 0.3
_EVEN = 1e-6  # share of a step by which equal steps may differ


def beyond(words: Sequence[str], end: str) -> str | None:
    """Return the override of the same key one step beyond that end; None if the values determine no step.

    Equally spaced values continue with the same difference. Other positive values continue with their ratio, over two
    steps if there are three values: 0.1, 0.3, 1 continues with 3 and 10.

    Args:
        words: The overrides that were tried, such as `optimizer.lr=0.1`.
        end: The one of them at an end.
    """
    numbers = sorted({found for word in words if (found := number(word)) is not None})
    own = number(end)
    if len(numbers) < 2 or own not in (numbers[0], numbers[-1]):
        return None
    if own == numbers[0]:
        numbers.reverse()
    steps = [after - before for before, after in itertools.pairwise(numbers)]
    if len(steps) > 1 and all(abs(step - steps[0]) <= _EVEN * abs(steps[0]) for step in steps):
        value = round(numbers[-1] / steps[0] + 1, _DIGITS) * steps[0]
        if min(numbers) > 0 >= value:
            return None  # positive numbers stay positive
    elif min(numbers) > 0:
        value = numbers[-2] * numbers[-1] / numbers[-3] if len(numbers) > 2 else numbers[1] ** 2 / numbers[0]
    else:
        return None
    return f"{end.partition('=')[0]}={float(f'{value:.{_DIGITS}g}'):g}"
