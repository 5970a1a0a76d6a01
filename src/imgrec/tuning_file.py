"""Read and write tuning.json: the values that each choice of a tuned sweep tried, and the best. Imports no torch."""

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
    """The results of one choice of a grid.

    Attributes:
        choice: The overrides of a run of the grid, without its seed and without those that only steer (`of`).
        chosen: The best overrides, one per key; None if every try failed.
        seeds: The seeds of the tries.
        tried: The mean validation top1, in [0, 1], of all overrides that were tried; None if a run failed.
    """

    choice: Words
    chosen: Words | None
    seeds: tuple[int, ...]
    tried: dict[Words, float | None]

    def column(self, position: int) -> list[str]:
        """Return the overrides that were tried at that position together with the other chosen overrides."""
        if self.chosen is None:
            return []
        rest = self.chosen[:position], self.chosen[position + 1 :]
        return [words[position] for words in self.tried if (words[:position], words[position + 1 :]) == rest]

    @property
    def at_an_end(self) -> Words:
        """The chosen overrides with the least or greatest of the tried numbers; a better value may exist beyond."""
        chosen = self.chosen or ()
        return tuple(word for position, word in enumerate(chosen) if word in ends(self.column(position)))


def of(words: Sequence[str]) -> Words:
    """Return the choice of a run's overrides: those that are part of the run's identity, without its seed.

    A sweep that tries other values, or uses another number of threads, therefore has the same choices.
    """
    return tuple(word for word in words if not _steers(word.lstrip("+~").partition("=")[0]))


def _steers(key: str) -> bool:
    axis = key.partition(".")[0]
    return key in ("seed", "code", "force") or axis in ("sweep", "launcher", "hydra") or key in _works()


@cache
def _works() -> frozenset[str]:
    """Return the keys of the trainer that are no part of a run's identity."""
    return frozenset(key for key in keys_outside_identity() if key.startswith("trainer."))


def number(word: str) -> float | None:
    """Return the number in an override; None for another value."""
    try:
        return float(word.partition("=")[2])
    except ValueError:
        return None


def ends(words: Sequence[str]) -> Words:
    """Return the overrides with the least and the greatest number, of overrides of one key; none for fewer than two."""
    numbers = {found: word for word in words if (found := number(word)) is not None}
    return (numbers[min(numbers)], numbers[max(numbers)]) if len(numbers) > 1 else ()


def read(path: Path) -> list[Tuned]:
    """Return the contents of the file; nothing if there is none.

    Raises:
        RunError: The file has another form.
    """
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
    """Write the file, completely or not at all.

    Raises:
        RunError: The disk refuses the file.
    """
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
        choice=of(_words(given["choice"])),  # older files contain all overrides
        chosen=None if given["chosen"] is None else _words(given["chosen"]),
        seeds=tuple(seeds),
        tried=tried,
    )


def _words(value: Any) -> Words:
    return tuple(value_checks.name(word, "a word") for word in value_checks.items(value, "words"))
