"""sweep=tuned: each choice of a grid gets the values that served it best on validation, at equal budgets."""

import math
from collections.abc import Callable, Sequence
from statistics import fmean

from imgrec import records
from imgrec.config.compose import expand, key_of
from imgrec.config.sweep import Tuned
from imgrec.errors import UsageError
from imgrec.sweep.jobs import Job, Jobs, objective

Words = tuple[str, ...]

TUNING = "tuning.json"  # in the sweep's folder: every value tried, its mean validation top1, and what was chosen


def tries(wanted: Sequence[Job], sweep: Tuned, jobs: Jobs) -> dict[Words, list[Job]]:
    """For each choice, the grid's words without their seed, the runs that try every value over every tuning seed.

    Their test set stays closed. Raises UsageError when the grid gives a key that is tuned.
    """
    tuned = {key_of(word) for word in sweep.tune}
    found: dict[Words, list[Job]] = {}
    for job in wanted:
        if both := tuned & {key_of(word) for word in job.words}:
            raise UsageError(f"sweep.tune tries values of {', '.join(sorted(both))}, which the command gives; drop one")
        choice = _choice(job.words)
        if choice not in found:
            found[choice] = [
                jobs.job((*choice, *values, f"seed={seed}", "test=false"))
                for values in _values(sweep)
                for seed in sweep.tune_seeds
            ]
    return found


def settled(
    tried: dict[Words, list[Job]], wanted: Sequence[Job], sweep: Tuned, jobs: Jobs, say: Callable[[str], None]
) -> list[Job]:
    """The grid's runs with the values that each choice is best with; a choice whose every try failed has none.

    The highest mean validation top1 decides, then the first. A best value at the end of those tried is warned about.
    """
    best: dict[Words, Words] = {}
    rows = []
    for choice, runs in tried.items():
        means = _means(runs, sweep)
        top = max(means.values(), default=math.nan)
        name = " ".join(word for word in choice if _varies(word, tried)) or "the run"
        if math.isnan(top):
            say(f"tuning: {name}: every try failed, so it has no runs")
            continue
        best[choice] = next(values for values in _values(sweep) if means.get(values) == top)
        rows.append(
            {
                "choice": list(choice),
                "chosen": list(best[choice]),
                "tried": [{"words": list(values), "val_top1": means.get(values)} for values in _values(sweep)],
            }
        )
        say(f"tuning: {name}: {' '.join(best[choice])} with a mean validation top1 of {top:.4f}")
        for word in _at_the_end(best[choice], sweep):
            say(f"tuning: {name}: {word} is the last of the values tried: the best may lie beyond; widen sweep.tune")
    records.write_json(jobs.sweep / TUNING, rows)
    return [jobs.job((*job.words, *best[_choice(job.words)])) for job in wanted if _choice(job.words) in best]


def _choice(words: Sequence[str]) -> Words:
    return tuple(word for word in words if key_of(word) != "seed")


def _values(sweep: Tuned) -> list[Words]:
    return [tuple(values) for values in expand(sweep.tune)]


def _means(runs: Sequence[Job], sweep: Tuned) -> dict[Words, float]:
    """The mean over the seeds for each of the values; without those of which a run failed."""
    means = {}
    seeds = len(sweep.tune_seeds)
    for number, values in enumerate(_values(sweep)):
        found = [job.record() for job in runs[number * seeds : (number + 1) * seeds]]
        scores = [objective(record) for record in found if record is not None and record.status == "finished"]
        known = [score for score in scores if score is not None]
        if len(known) == seeds:
            means[values] = fmean(known)
    return means


def _varies(word: str, tried: dict[Words, list[Job]]) -> bool:
    return not all(word in choice for choice in tried)


def _at_the_end(chosen: Words, sweep: Tuned) -> list[str]:
    """The chosen words that are the least or greatest of three or more numbers tried."""
    found = []
    for position, word in enumerate(chosen):
        numbers = sorted({number for values in _values(sweep) if (number := _number(values[position])) is not None})
        if len(numbers) >= 3 and _number(word) in (numbers[0], numbers[-1]):
            found.append(word)
    return found


def _number(word: str) -> float | None:
    try:
        return float(word.partition("=")[2])
    except ValueError:
        return None
