"""Carry out `imgrec table`: turn the command's words into the text of a table. Imports no torch."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imgrec.config.fields import choice
from imgrec.errors import UsageError
from imgrec.tables import column_words, per_run
from imgrec.tables import names as naming
from imgrec.tables import published as figures
from imgrec.tables.gather import Gathered, gather
from imgrec.tables.layout import Layout
from imgrec.tables.layout import layout as layout_of
from imgrec.tables.names import Names
from imgrec.tables.render import FORMATS, render
from imgrec.tables.sensitivity import sensitivities
from imgrec.tables.table import Condition, Request, Table
from imgrec.tables.tabulate import keep, tabulate

_ENDINGS = {".md": "markdown", ".tex": "latex", ".csv": "csv", ".json": "json"}


@dataclass(frozen=True, kw_only=True)
class Made:
    """The result of the command.

    Attributes:
        problems: Files that could not be read.
        remarks: What to print beside a text that has no place for notes.
    """

    text: str
    problems: list[str]
    remarks: list[str]


def request(
    *,
    scores: str,
    at: str,
    split: str | None,
    protocol: str | None,
    baseline: Sequence[str],
    where: Sequence[str],
    rows: str = "",
    columns: str | None = None,
    names: Path | None = None,
    sort: str | None = None,
    average: str = "",
    contrast: Sequence[str] = (),
) -> Request:
    """Return the request that a command's words describe.

    Raises:
        UsageError: A word has no valid meaning.
    """
    choice("--at", at, ("best", "last"))
    if split is not None:
        choice("--split", split, ("test", "val"))
    if not _names(scores):
        raise UsageError(f"--scores must name one score at least, got {scores!r}; leave it out for top1")
    return Request(
        scores=tuple(_names(scores)),
        split=split,
        at=at,
        protocols=column_words.listed(protocol),
        baseline=_pairs("--baseline", baseline),
        where=tuple(map(_condition, where)),
        rows=tuple(_names(rows)),
        columns=columns,
        names=naming.read(names) if names is not None else Names(),
        sort=sort,
        average=tuple(_names(average)),
        contrasts=tuple(contrast),
    )


def form_of(form: str | None, output: Path | None, *, runs: bool = False) -> str:
    """Return the format that was asked for, or else the format that the file's name implies.

    Args:
        form: The format that was asked for, if any.
        output: The file to write, if any.
        runs: True for a table with one row for each run.

    Raises:
        UsageError: The two differ, or such a table cannot have the format.
    """
    known = per_run.FORMATS if runs else FORMATS
    named = _ENDINGS.get(output.suffix.lower()) if output is not None else None
    if form is None and (output is None or not output.suffix or named in known):
        return named or known[0]
    if form is None:
        ends = ", ".join(end for end, each in _ENDINGS.items() if each in known)
        way_out = (
            "such as -o runs.csv"
            if runs
            else "or give --format"
            if named is None
            else "or give --runs, for a row a run"
        )
        raise UsageError(f"-o {output} must end in one of {ends}{' with --runs' * runs}; {way_out}")
    choice("--format", form, known)
    if named is not None and named != form:
        raise UsageError(f"-o {output} must agree with --format {form}, and says {named}; leave one of them out")
    return form


def layout(*, hide: str, caption: str | None, label: str | None, siunitx: bool, form: str) -> Layout:
    """Return the layout that a command's words describe.

    Raises:
        UsageError: The format cannot show it.
    """
    return layout_of(hide=_names(hide), caption=caption, label=label, siunitx=siunitx, form=form)


def table(
    places: Sequence[Path],
    asked: Request,
    *,
    form: str,
    published: str | None,
    digits: int | None,
    layout: Layout | None = None,
) -> Made:
    """Read the records below the places, and tabulate them.

    Raises:
        UsageError: The words name something that the runs do not have.
    """
    if asked.columns is not None and form != "csv":
        _refuse_beside_pivot(asked, published)
    found = gather(places)
    if not found.runs:
        return Made(text="", problems=found.problems, remarks=found.notes)
    made = of(found, asked, published)
    if asked.columns is not None and form != "csv" and len(made.columns) > 1:
        labels = ", ".join(column.measured for column in made.columns)
        raise UsageError(
            f"--columns={asked.columns} shows one score, and --protocol names {len(made.columns)} ({labels}); name one"
            " of them, or give --format csv"
        )
    warnings = [f"warning: {warning}" for warning in made.warnings]
    remarks = [made.verdict, *made.notes, *warnings] if form == "csv" else []
    return Made(
        text=render(made, form, digits=digits, layout=layout),
        problems=[*found.problems, *made.problems],
        remarks=remarks,
    )


def runs(places: Sequence[Path], asked: Request, *, form: str, given: Mapping[str, bool]) -> Made:
    """Read the records below the places, and tabulate each run by itself.

    Args:
        places: As of `gather`.
        asked: Only its conditions (`where`) are used.
        form: The format.
        given: For each option that such a table cannot use, whether it was given.

    Raises:
        UsageError: One of these options was given.
    """
    if idle := [option for option, is_given in given.items() if is_given]:
        raise UsageError(
            f"--runs shows each run with all that is known, and {idle[0]} has no say in it; leave one of them out"
        )
    found = gather(places)
    if not found.runs:
        return Made(text="", problems=found.problems, remarks=found.notes)
    said = list(found.notes)
    text = per_run.render(per_run.columns(keep(found.runs, asked.where), said), form)
    return Made(text=text, problems=found.problems, remarks=said)


def of(found: Gathered, asked: Request, published: str | None) -> Table:
    """Return the table of the gathered runs, with the published figures that were chosen.

    Raises:
        UsageError: The request names what the runs do not have, or two parts of the table have the same name.
    """
    made = tabulate(found.runs, asked, figures.for_runs([run.record for run in found.runs], published))
    if made.names:
        made.names.check_apart(made.factors, [row.setting for row in made.rows], made.columns)
    made.notes += found.notes
    made.tunings = sensitivities([run for row in made.rows for run in row.runs], made.problems)
    made.warnings += [sentence for tuning in made.tunings for sentence in tuning.at_an_end]
    return made


def _refuse_beside_pivot(asked: Request, published: str | None) -> None:
    """Refuse options that a pivot cannot show, as its cells have room for one score."""
    words = {
        "--scores": ",".join(asked.scores) if len(asked.scores) > 1 else None,
        "--published": published if published != figures.NONE else None,
    }
    for option, value in words.items():
        if value is not None:
            raise UsageError(
                f"--columns={asked.columns} shows one score and no published figures, got {option}={value}; leave one"
                " of them out, or give --format csv"
            )


def _names(words: str) -> list[str]:
    """Return the names between commas, without repetitions."""
    return list(dict.fromkeys(name.strip() for name in words.split(",") if name.strip()))


def _pairs(option: str, words: Sequence[str]) -> dict[str, str]:
    """Return KEY=VALUE words as a mapping.

    Raises:
        UsageError: A word has another form.
    """
    found: dict[str, str] = {}
    for word in words:
        key, value = _halves(option, word)
        if key in found:
            raise UsageError(f"{option} must give {key} one value, got {found[key]} and {value}; drop one")
        found[key] = value
    return found


def _condition(word: str) -> Condition:
    """Parse KEY=VALUE, KEY=ONE,OTHER or KEY!=VALUE. Commas inside brackets belong to a value."""
    key, value = _halves("--where", word)
    return Condition(
        key=key.removesuffix("!"),
        values=tuple(re.split(r",(?![^\[]*\])", value)),
        is_negated=key.endswith("!"),
    )


def _halves(option: str, word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not (key.strip("!") and equals and value):
        raise UsageError(f"{option} must be KEY=VALUE, got {word!r}; such as {option} optimizer=sgd")
    if " " in value:
        raise UsageError(f"{option} must be one KEY=VALUE, got {word!r}; repeat {option} for another key")
    return key, value
