"""Find the columns that the words of a command name: scores under protocols, with settings. Imports no torch."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace

from imgrec import predictions
from imgrec.config.fields import nearest
from imgrec.errors import UsageError
from imgrec.tables import derived_scores, factors, measured
from imgrec.tables.column import Column, Settings
from imgrec.tables.gather import Run
from imgrec.tables.names import Names

_BETWEEN = re.compile(r",(?![^\[]*\])")  # a comma inside brackets belongs to a value
_BEFORE_SETTING = re.compile(r":(?=[A-Za-z_]\w*=)")


def listed(words: str | None) -> tuple[str, ...]:
    """Return the words of `--protocol`: NAME, or NAME:ROW, each with settings as in NAME:KEY=VALUE.

    Raises:
        UsageError: There is none.
    """
    if words is None:
        return ()
    found = tuple(dict.fromkeys(word.strip() for word in _BETWEEN.split(words) if word.strip()))
    if not found:
        raise UsageError(f"--protocol must name one protocol at least, got {words!r}; leave it out for clean")
    return found


def split_of(runs: Sequence[Run]) -> str:
    """Return the split that a table shows by itself: test where a run opened it, else val."""
    return "test" if any(score.split == "test" for run in runs for score in run.record.scores) else "val"


def columns(
    runs: Sequence[Run], metrics: Sequence[str], split: str, protocols: Sequence[str], names: Names
) -> list[Column]:
    """Return the columns of a table: for each score, one for each row of each protocol.

    Args:
        runs: The runs.
        metrics: The scores.
        split: test or val.
        protocols: Words, as of `listed`. A protocol's name stands for all of its rows. Without words, the one row is
            clean, else the first that was measured.
        names: Names for print.

    Raises:
        UsageError: A word names no protocol, or no setting, that a run was measured with.
    """
    rows = [row for word in protocols for row in _rows(runs, split, word)]
    rows = list(dict.fromkeys(rows)) or [(_usual_label(runs, split), ())]
    found = []
    for metric in metrics:
        for label, settings in rows:
            column = Column(metric=metric, split=split, protocol=label, settings=settings)
            named = names.label(metric, split)
            if named is not None and len(rows) > 1:
                named += f", {column.measured}"
            found.append(replace(column, named=named, usual=measured.usual(runs, column)))
    return found


def declared(runs: Sequence[Run], metric: str, names: Names) -> Column:
    """Return the column that a study's declaration of a score means, which names neither split nor protocol.

    It is the column that a table of the runs shows without `--split` and `--protocol`.
    """
    (column,) = columns(runs, [metric], split_of(runs), (), names)
    return column


def check_scores(runs: Sequence[Run], shown: Sequence[Column]) -> None:
    """Refuse a score that no run has. The message names the scores that exist."""
    known = {(score.metric, score.split, score.protocol) for run in runs for score in run.record.scores}
    if not known:
        return  # no run has finished; the table itself says so
    for column in shown:
        if (column.metric, column.split, column.protocol) not in known:
            if column.metric in derived_scores.OF:
                raise UsageError(
                    f"--scores {column.metric} needs predictions that runs have kept, and none is there; give --scores"
                    f" {derived_scores.OF[column.metric]}, or restore {predictions.NAME}"
                )
            there = ", ".join(sorted(f"{metric} ({split}, {protocol})" for metric, split, protocol in known))
            raise UsageError(f"no run has the score {column.label.replace(' %', '')}; there are {there}")


def tell_of_rows(runs: Sequence[Run], shown: Sequence[Column], notes: list[str]) -> None:
    """Note which other rows the protocols of a table have, and how to show them."""
    split = shown[0].split
    for name in dict.fromkeys(measured.name_of(column.protocol) for column in shown):
        labels = [label for label in _labels(runs, split) if measured.name_of(label) == name]
        others = [label for label in labels if label not in {column.protocol for column in shown}]
        if others:
            rows = ", ".join(label.partition(":")[2] or label for label in others)
            notes.append(
                f"{name} has {len(others)} other row{'s' * (len(others) > 1)}: {rows}; --protocol {name} shows all of"
                " its rows side by side"
            )


def _rows(runs: Sequence[Run], split: str, word: str) -> list[tuple[str, Settings]]:
    """Return the rows of scores that a word names, each with the settings that the word demands."""
    name, *pairs = _BEFORE_SETTING.split(word)
    settings = tuple(sorted((key, value) for key, _, value in (pair.partition("=") for pair in pairs)))
    if not any(run.record.scores for run in runs):
        return [(name, settings)]  # no run has finished; the table itself says so
    found = _matching(runs, split, name)
    if not found:
        raise UsageError(_unknown(runs, split, word, name))
    if settings:
        _check_settings(runs, split, word, found, settings)
    return [(label, settings) for label in found]


def _matching(runs: Sequence[Run], split: str, name: str) -> list[str]:
    return [label for label in _labels(runs, split) if label == name or label.startswith(f"{name}:")]


def _labels(runs: Sequence[Run], split: str) -> list[str]:
    """Return the rows of scores that runs have on a split: protocols as they come first, their rows in order."""
    labels = dict.fromkeys(score.protocol for run in runs for score in run.record.scores if score.split == split)
    names = list(dict.fromkeys(map(measured.name_of, labels)))
    return sorted(labels, key=lambda label: (names.index(measured.name_of(label)), factors.order((_row(label),))))


def _row(label: str) -> str:
    return label.partition(":")[2]


def _usual_label(runs: Sequence[Run], split: str) -> str:
    labels = dict.fromkeys(score.protocol for run in runs for score in run.record.scores if score.split == split)
    return "clean" if "clean" in labels or not labels else next(iter(labels))


def _unknown(runs: Sequence[Run], split: str, word: str, name: str) -> str:
    """Return in a sentence that no run was measured under a protocol, and under which they were."""
    known = _labels(runs, split)
    there: dict[str, list[str]] = {}
    for label in known:
        there.setdefault(measured.name_of(label), []).append(_row(label))
    told = ", ".join(f"{each}:{'|'.join(rows)}" if all(rows) else each for each, rows in there.items())
    guess = nearest(name, [*known, *there])
    other = next((each for each in ("test", "val") if each != split and _matching(runs, each, name)), None)
    hint = f"; on {other} it was, give --split {other}" if other else f"; did you mean {guess}?" if guess else ""
    which = f"which are {told}" if told else "and there is none"
    return f"--protocol {word} must be one that the runs were measured under on {split}, {which}{hint}"


def _check_settings(runs: Sequence[Run], split: str, word: str, labels: Sequence[str], wanted: Settings) -> None:
    """Check that a run was measured with the settings.

    Raises:
        UsageError: None was.
    """
    known = dict.fromkeys(
        measured.settings_of(run, score)
        for run in runs
        for score in run.record.scores
        if score.split == split and score.protocol in labels
    )
    if not any(measured.fits(settings, wanted) for settings in known):
        there = [measured.words(each, known) or [f"{key}={value}" for key, value in each] for each in known]
        raise UsageError(
            f"--protocol {word} must have settings that a run was measured with, which are"
            f" {'; '.join(map(' '.join, there))}; such as --protocol {shlex.quote(':'.join([labels[0], *there[0]]))}"
        )
