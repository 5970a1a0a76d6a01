"""Read from tuning.json how the choices of a tuned sweep scored with the values that they tried. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imgrec import tuning_file
from imgrec.errors import RunError
from imgrec.tables.factors import order
from imgrec.tables.gather import Run
from imgrec.tuning_file import Tuned, Words, number


@dataclass(frozen=True, kw_only=True)
class Try:
    """One value that a choice tried.

    Attributes:
        top1: The mean validation top1 in percent; None where a run failed.
        chosen: True if the sweep chose the value.
    """

    choice: str
    value: str
    top1: float | None
    chosen: bool

    @property
    def text(self) -> str:
        return "failed" if self.top1 is None else f"{self.top1:.2f}"


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """What a sweep tuned.

    Attributes:
        keys: The keys that were tuned, such as `optimizer.lr_scale`.
        seeds: The seeds of the tries.
        tries: In the order of the file.
        axis: The one key that identifies every choice, which is then named by its value alone; empty without such a
            key.
        at_an_end: A sentence for each choice whose best value is at an end of its values.
    """

    keys: tuple[str, ...]
    seeds: tuple[int, ...]
    tries: tuple[Try, ...]
    axis: str
    at_an_end: tuple[str, ...]

    @property
    def values(self) -> list[str]:
        """Every value that some choice tried, numbers by size."""
        found = dict.fromkeys(each.value for each in self.tries)
        return sorted(found, key=lambda value: (number(f"={value}") is None, number(f"={value}") or 0.0))

    @property
    def choices(self) -> list[str]:
        """The choices in the order of a table's rows, so that both have the same colours."""
        return sorted(dict.fromkeys(each.choice for each in self.tries), key=lambda choice: order((choice,)))

    def tried(self, choice: str, value: str) -> Try | None:
        """Return the result of the value for the choice; None where it was not tried."""
        return next((each for each in self.tries if (each.choice, each.value) == (choice, value)), None)

    @property
    def title(self) -> str:
        seeds = f"seed{'s' * (len(self.seeds) > 1)} {', '.join(map(str, self.seeds))}"
        return f"Tuning: validation top1 % by {' and '.join(self.keys)}, {seeds}"


def sensitivities(runs: Sequence[Run], problems: list[str]) -> list[Sensitivity]:
    """Return what the sweeps of these runs tuned, one for each sweep, restricted to the choices that the runs have.

    Args:
        runs: The runs.
        problems: A list to which sentences about unreadable files are added.
    """
    commands: dict[Path, list[set[str]]] = {}
    for run in runs:
        for path in _files(run):
            commands.setdefault(path, []).append(set(run.record.command))
    found = []
    for path, of in commands.items():
        try:
            rows = tuning_file.read(path)
        except RunError as error:
            problems.append(str(error))
            continue
        kept = [row for row in rows if any(set(row.choice) <= words for words in of)]
        if kept:
            found.append(_sensitivity(rows, kept))
    return found


def _files(run: Run) -> list[Path]:
    """Return the files that may contain the tuning of the run's sweep."""
    if run.folder is not None:
        return [run.folder.parent / tuning_file.NAME]
    return [run.path.parent / tuning_file.NAME, run.path.parent.parent / tuning_file.NAME]


def _sensitivity(rows: Sequence[Tuned], kept: Sequence[Tuned]) -> Sensitivity:
    tries: list[Try] = []
    ends: list[str] = []
    own = [[word for word in row.choice if not all(word in other.choice for other in rows)] for row in kept]
    keys_of = {tuple(word.partition("=")[0] for word in words) for words in own}
    (axis,) = next(iter(keys_of)) if len(keys_of) == 1 and len(next(iter(keys_of))) == 1 else ("",)
    for row, words_of in zip(kept, own, strict=True):
        name = " ".join(words_of) or "the run"
        short = name.removeprefix(f"{axis}=") if axis else name
        for words, top1 in row.tried.items():
            shown = None if top1 is None else 100 * top1
            tries.append(Try(choice=short, value=_value(words), top1=shown, chosen=words == row.chosen))
        ends += [
            f"tuning: {name} is best with {word}, at an end of the values that it tried; a better one may lie beyond"
            for word in row.at_an_end
        ]
    keys = dict.fromkeys(word.partition("=")[0] for row in kept for words in row.tried for word in words)
    seeds = dict.fromkeys(seed for row in kept for seed in row.seeds)
    return Sensitivity(keys=tuple(keys), seeds=tuple(seeds), tries=tuple(tries), axis=axis, at_an_end=tuple(ends))


def _value(words: Words) -> str:
    return " ".join(word.partition("=")[2] for word in words)
