"""tuning.json: the values that each choice of a tuned sweep tried, and what it is best with. Imports no torch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from imgrec import text_files, value_checks
from imgrec.config.schemas import keys_outside_identity
from imgrec.errors import RunError, shown

NAME = "tuning.json"  # in the folder of a sweep's runs

Words = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What one choice of a grid tried.

    Args:
        choice: the words of a run of the grid, without its seed and without those that only steer (`of`).
        chosen: the words that it is best with, one for each key; None where no try got through.
        seeds: those of the tries.
        tried: the mean validation top1, in [0, 1], of all words that were tried; None where a run failed.
    """

    choice: Words
    chosen: Words | None
    seeds: tuple[int, ...]
    tried: dict[Words, float | None]

    def column(self, position: int) -> list[str]:
        """The words that were tried at that position beside the other words chosen."""
        if self.chosen is None:
            return []
        rest = self.chosen[:position], self.chosen[position + 1 :]
        return [words[position] for words in self.tried if (words[:position], words[position + 1 :]) == rest]

    @property
    def at_an_end(self) -> Words:
        """The chosen words that have the least or greatest of the numbers tried: a better value may lie beyond."""
        chosen = self.chosen or ()
        return tuple(word for position, word in enumerate(chosen) if word in ends(self.column(position)))


def of(words: Sequence[str]) -> Words:
    """The choice that a run's words make: what they say of the run beside its seed, not how the sweep goes.

    So a sweep with other values to try, or on another number of threads, is of the same choices.
    """
    return tuple(word for word in words if not _steers(word.lstrip("+~").partition("=")[0]))


def _steers(key: str) -> bool:
    axis = key.partition(".")[0]
    return key in ("seed", "code", "force") or axis in ("sweep", "launcher", "hydra") or key in _works()


@cache
def _works() -> frozenset[str]:
    """The keys of the trainer that say where and how a run works, not what it is."""
    return frozenset(key for key in keys_outside_identity() if key.startswith("trainer."))


def number(word: str) -> float | None:
    """The number that a word gives its key; None for another value."""
    try:
        return float(word.partition("=")[2])
    except ValueError:
        return None


def ends(words: Sequence[str]) -> Words:
    """Of words of one key, those with the least and the greatest number; none where they have fewer than two."""
    numbers = {found: word for word in words if (found := number(word)) is not None}
    return (numbers[min(numbers)], numbers[max(numbers)]) if len(numbers) > 1 else ()


def read(path: Path) -> list[Tuned]:
    """What the file holds; nothing where there is none. Raises RunError for a file that holds something else."""
    if not path.exists():
        return []
    try:
        return [_typed(row) for row in value_checks.items(text_files.read_json(path), "choices")]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(
            f"{shown(path)} must be what imgrec tuned, got {text_files.reason(error)}; remove it: its sweep writes it"
            " anew, from the records of the runs"
        ) from error


def write(path: Path, found: Iterable[Tuned]) -> None:
    """Write the file as a whole or not at all. Raises RunError where the disk refuses."""
    rows = [
        {
            "choice": list(each.choice),
            "chosen": None if each.chosen is None else list(each.chosen),
            "seeds": list(each.seeds),
            "tried": [{"words": list(words), "val_top1": score} for words, score in each.tried.items()],
            "at_an_end": list(each.at_an_end),
        }
        for each in found
    ]
    text_files.write_json(path, rows)


def _typed(row: Any) -> Tuned:
    given = value_checks.mapping(row, "a choice")
    tried = {}
    for each in value_checks.items(given["tried"], "tried"):
        score = value_checks.mapping(each, "a try")["val_top1"]
        tried[_words(each["words"])] = None if score is None else value_checks.number(score, "val_top1", low=0, high=1)
    seeds = [value_checks.integer(seed, "a seed") for seed in value_checks.items(given["seeds"], "seeds")]
    if not seeds:
        raise ValueError("no seeds")
    return Tuned(
        choice=of(_words(given["choice"])),  # older files hold all words
        chosen=None if given["chosen"] is None else _words(given["chosen"]),
        seeds=tuple(seeds),
        tried=tried,
    )


def _words(value: Any) -> Words:
    return tuple(value_checks.name(word, "a word") for word in value_checks.items(value, "words"))
