"""sweep=tuned: each choice of a grid gets the values that served it best on validation, at equal budgets."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from imgrec import records
from imgrec.config.compose import expand, key_of
from imgrec.config.sweep import Tuned
from imgrec.errors import RunError, UsageError, sentence
from imgrec.runfolder import TUNING
from imgrec.sweep.jobs import Job, Jobs, objective, reason_of
from imgrec.sweep.ledger import Ledger

Words = tuple[str, ...]


def tries(wanted: Sequence[Job], sweep: Tuned, jobs: Jobs) -> dict[Words, list[Job]]:
    """For each choice, the grid's words without their seed, the runs that try every value over every tuning seed.

    Their test set stays closed. Raises UsageError when the grid gives a key that is tuned, RunError for a damaged
    tuning.json.
    """
    _known(jobs.sweep)  # refuses a damaged file before anything runs
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
    tried: dict[Words, list[Job]], wanted: Sequence[Job], sweep: Tuned, jobs: Jobs, ledger: Ledger
) -> list[Job]:
    """The grid's runs with the values that each choice is best with; a choice whose every try failed has none.

    The highest mean validation top1 decides, then the first. A best value at the end of those tried is warned about.
    """
    best: dict[Words, Words] = {}
    rows = {tuple(row["choice"]): row for row in _known(jobs.sweep)}
    for choice, runs in tried.items():
        means = _means(runs, sweep)
        name = " ".join(word for word in choice if _varies(word, tried)) or "the run"
        chosen = max(means, key=lambda values: means[values], default=None)
        rows[choice] = {
            "choice": list(choice),
            "chosen": list(chosen) if chosen is not None else None,
            "seeds": list(sweep.tune_seeds),
            "tried": [{"words": list(values), "val_top1": means.get(values)} for values in _values(sweep)],
        }
        failed = [job for job in runs if (record := job.record()) is None or record.status != "finished"]
        if chosen is None:
            why = reason_of(failed[0]) if failed else "their runs have no validation top1"
            ledger.lost(name, f"no value that was tried got through, so that it has no runs: {why}")
            continue
        if failed:
            ledger.say(
                f"tuning: {name}: {len(failed)} of {len(runs)} tries failed and were passed over,"
                f" the first in {failed[0].folder}: {reason_of(failed[0])}"
            )
        best[choice] = chosen
        ledger.say(f"tuning: {name}: {' '.join(chosen)} with a mean validation top1 of {means[chosen]:.4f}")
        for word in _at_the_end(chosen, sweep):
            ledger.say(
                f"tuning: {name}: {word} is at an end of the values tried; widen sweep.tune, a better may lie beyond"
            )
    records.write_json(jobs.sweep / TUNING, list(rows.values()))  # every value tried, and what was chosen
    return [jobs.job((*job.words, *best[_choice(job.words)])) for job in wanted if _choice(job.words) in best]


def _known(sweep: Path) -> list[dict[str, Any]]:
    """What earlier commands tuned in this folder."""
    path = sweep / TUNING
    if not path.exists():
        return []
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))
        if not all(all(isinstance(word, str) for word in row["choice"]) for row in rows):
            raise ValueError("a choice that is not made of words")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(
            f"{path} must be what imgrec tuned, got {sentence(error)}; remove it: this command writes it anew, from the"
            " records of the runs"
        ) from error
    return rows


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
    """The chosen words that are the least or greatest of the numbers tried."""
    found = []
    for position, word in enumerate(chosen):
        numbers = sorted({number for values in _values(sweep) if (number := _number(values[position])) is not None})
        if len(numbers) >= 2 and _number(word) in (numbers[0], numbers[-1]):
            found.append(word)
    return found


def _number(word: str) -> float | None:
    try:
        return float(word.partition("=")[2])
    except ValueError:
        return None
