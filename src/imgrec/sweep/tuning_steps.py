"""The next value of a tuning beyond an end of those that were tried. Imports no torch."""

import itertools
from collections.abc import Sequence

from imgrec.tuning_file import number

_DIGITS = 6  # of a value that is computed: 0.1 * 3 is 0.3
_EVEN = 1e-6  # share of a step by which equal steps may differ


def beyond(words: Sequence[str], end: str) -> str | None:
    """The word of the same key one step beyond that end; None where the steps say nothing of it.

    Equal differences go on as they are. Other positive numbers go on by their ratio, over two steps where there are
    three numbers, so that 0.1, 0.3, 1 becomes 3 and then 10.
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
