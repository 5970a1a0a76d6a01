"""`imgrec table`: words to a table's text. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imgrec.config.fields import choice
from imgrec.errors import UsageError
from imgrec.tables import published as figures
from imgrec.tables.gather import gather
from imgrec.tables.render import FORMATS, render
from imgrec.tables.table import Request
from imgrec.tables.tabulate import tabulate


@dataclass(frozen=True, kw_only=True)
class Made:
    """The table's text; files that could not be read; what else to say beside a text that has no room for notes."""

    text: str
    problems: list[str]
    remarks: list[str]


def table(
    places: Sequence[Path],
    *,
    form: str,
    scores: str,
    at: str,
    split: str | None,
    protocol: str | None,
    rows: str,
    columns: str | None,
    baseline: Sequence[str],
    where: Sequence[str],
    published: str | None,
    digits: int | None,
) -> Made:
    """Read the records below the places, and tabulate them.

    Raises UsageError for words that ask for what is not there.
    """
    choice("--format", form, FORMATS)
    choice("--at", at, ("best", "last"))
    if split is not None:
        choice("--split", split, ("test", "val"))
    request = Request(
        scores=tuple(names(scores)),
        split=split,
        at=at,
        protocol=protocol,
        baseline=pairs("--baseline", baseline),
        where=pairs("--where", where),
        rows=tuple(names(rows)),
        columns=columns,
    )
    if not request.scores:
        raise UsageError("--scores must name one score at least, got ''; leave it out for top1")
    if columns is not None and len(request.scores) > 1 and form != "csv":
        raise UsageError(f"--columns={columns} shows one score, got --scores={scores}; choose one of them")
    if columns is not None and baseline and form != "csv":
        raise UsageError(f"--columns={columns} shows no differences to --baseline={baseline[0]}; leave one of them out")
    found = gather(places)
    if not found.runs:
        return Made(text="", problems=found.problems, remarks=found.notes)
    made = tabulate(found.runs, request, figures.for_runs([run.record for run in found.runs], published))
    made.notes += found.notes
    remarks = [*made.notes, *(f"warning: {warning}" for warning in made.warnings)] if form == "csv" else []
    return Made(text=render(made, form, digits=digits), problems=found.problems, remarks=remarks)


def names(words: str) -> list[str]:
    """The names between commas."""
    return [name for name in words.split(",") if name]


def pairs(option: str, words: Sequence[str]) -> dict[str, str]:
    """KEY=VALUE words as a mapping. Raises UsageError for others."""
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals and value):
            raise UsageError(f"{option} must be KEY=VALUE, got {word!r}; such as {option} optimizer=sgd")
        found[key] = value
    return found
