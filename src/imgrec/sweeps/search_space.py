"""Read what a search tries from its words: intervals and choices, as Optuna's distributions. Imports no torch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from imgrec.config.compose import expand
from imgrec.config.held_out import FOLD
from imgrec.config.overrides import key_of, parsed
from imgrec.config.root import STEERING
from imgrec.config.schemas import keys_outside_identity
from imgrec.errors import UsageError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_MOST_EXAMPLES = 64  # combinations of listed choices that a forecast tells apart


def example(words: Sequence[str]) -> list[str]:
    """Return the overrides of one run of the space: the first value of each list, the middle of each interval.

    Raises:
        UsageError: The overrides contain nothing to search.
    """
    found = last_of_each(words)
    if not any(override.is_sweep_override() for override in found):
        raise UsageError("sweep=optuna needs something to search: give key=interval(0.1,10), or key=a,b,c")
    for override in found:
        if override.get_key_element() == FOLD and override.is_sweep_override():
            raise UsageError(
                f"sweep=optuna would look for the fold that is easiest to classify, got {override.input_line}; search"
                f" with one fold, and give all folds what it found"
            )
    return [f"{override.get_key_element()}={_first(override)}" for override in found]


def examples(words: Sequence[str]) -> list[list[str]]:
    """Return the overrides of a run for each combination of the listed choices, as `example`; of the first if many."""
    one = example(words)
    found = [override for override in last_of_each(words) if not isinstance(override.value(), IntervalSweep)]
    listed = [str(override.input_line) for override in found if override.is_sweep_override()]
    if "test" not in (override.get_key_element() for override in last_of_each(words)):
        one.append("test=false")
    rows = expand(listed) if listed else [[]]
    if len(rows) > _MOST_EXAMPLES:
        return [one]
    return [[*(word for word in one if key_of(word) not in map(key_of, row)), *row] for row in rows]


def searched(words: Sequence[str]) -> list[str]:
    """Return the overrides that define what is searched, without those of place and hardware."""
    silent = {"trainer", *keys_outside_identity()}
    return sorted(
        str(override.input_line)
        for override in last_of_each(words)
        if (key := override.get_key_element()) not in silent and key.partition(".")[0] not in (*STEERING, "hydra")
    )


def space_of(words: Sequence[str]) -> "dict[str, BaseDistribution]":
    swept = [override for override in last_of_each(words) if override.is_sweep_override()]
    return {override.get_key_element(): _distribution(override) for override in swept}


def _distribution(override: Override) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value: Any = override.value()
    match value:
        case IntervalSweep():
            log = "log" in value.tags
            low, high = value.start, value.end
            if isinstance(low, int) and isinstance(high, int):
                return IntDistribution(low, high, log=log)
            return FloatDistribution(float(low or 0), float(high or 0), log=log)
        case RangeSweep() if all(isinstance(number, int) for number in (value.start, value.stop, value.step)):
            numbers = [int(text) for text in override.sweep_string_iterator()]
            return IntDistribution(min(numbers), max(numbers), step=abs(int(value.step)))
    return CategoricalDistribution(list(override.sweep_string_iterator()))


def _first(override: Override) -> str:
    value: Any = override.value()
    if isinstance(value, IntervalSweep):
        low, high = value.start or 0, value.end or 0
        return str((low + high) // 2 if isinstance(low, int) and isinstance(high, int) else (low + high) / 2)
    if override.is_sweep_override():
        return next(iter(override.sweep_string_iterator()))
    return str(override.get_value_element_as_str())


def last_of_each(words: Sequence[str]) -> list[Override]:
    """Return the parsed overrides. Of several for one key the last counts, so that the command overrides the study."""
    return list({override.get_key_element(): override for override in parsed(words)}.values())


def word_of(value: Any, distribution: "BaseDistribution") -> str:
    """Return the value as text with six digits, which suffice for a run and its name; with all in a narrow interval."""
    from optuna.distributions import FloatDistribution

    if not isinstance(distribution, FloatDistribution):
        return str(value)
    low, high = distribution.low, distribution.high
    narrow = high - low < 1e-3 * max(abs(low), abs(high))
    return f"{value:.6g}" if not narrow and low <= float(f"{value:.6g}") <= high else repr(float(value))
