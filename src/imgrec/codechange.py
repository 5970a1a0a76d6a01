"""Warn of or refuse runs that were made by other code than the present code. Imports no torch.

The configuration key `code` is the rule. auto warns of a finished run, and refuses to continue one in the middle.
ignore, warn and refuse apply to both. For a record that says nothing of its code there is at most a warning.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from imgrec import codebase
from imgrec.codebase import Code, changed_since
from imgrec.config import origins
from imgrec.errors import RunError, done_over, shown
from imgrec.records import Record

_AFTER = (f"{origins.CODE}.protocol.", f"{origins.CODE}.logger.")


def modules(record: Record) -> list[str]:
    """Return the modules of the run whose present code differs from that of any part of the run."""
    found = set[str]()
    for part in (record.code, *record.code_since):
        others = {name: digests for name, digests in part.items() if name.partition(".")[0] == origins.CODE}
        own = {name: digests for name, digests in part.items() if name not in others}
        found.update(codebase.changed(own), origins.changed(others))
    return sorted(found)


def pinned(rule: str) -> Code:
    """Return the code with which a run that waits for its turn must be carried out; empty if any will do.

    Args:
        rule: The value of `code`.
    """
    return codebase.of_run() if rule in ("auto", "refuse") else {}


def refuse_other(code: Mapping[str, str]) -> None:
    """Refuse to carry out a run with other code than the one with which it was submitted.

    Args:
        code: The code with which it was submitted; empty if any will do.

    Raises:
        RunError: The present code differs.
    """
    if code and (other := codebase.differing(code, codebase.of_run())):
        raise RunError(
            f"a run must be carried out with the code with which it was submitted, and {changed_since(other)}; restore"
            " the code, or give the sweep's command again, which submits the run with the code that is there now"
        )


def _deciding(names: Sequence[str]) -> list[str]:
    """Return the names without those of outside protocols and loggers, which decide nothing of a training."""
    return [name for name in names if not name.startswith(_AFTER)]


def of_finished(folder: Path, record: Record, rule: str, *, named: bool = False) -> str | None:
    """Return a warning about a finished run whose code has changed since; None if it has not, or the rule is ignore.

    Args:
        folder: The run's folder.
        record: The run's record.
        rule: The value of `code`.
        named: True if the command names the folder.

    Raises:
        RunError: The rule is refuse.
    """
    other = _changed(record, rule)
    if not other:
        return _unknown_code(folder) if other is None else None
    if rule == "refuse":
        raise RunError(
            f"{shown(folder)} must have finished with the code that is there now (code=refuse), and"
            f" {changed_since(other)}; {done_over(named=named)}, or allow it with code=warn"
        )
    return (
        f"{shown(folder)} finished with other code: {changed_since(other)}; {done_over(named=named)}, and"
        " code=ignore leaves this line out"
    )


def of_state(folder: Path, record: Record, rule: str, *, anew: str | None = None) -> str | None:
    """Return a warning about a checkpoint that other code has made; None if none has, or the rule is ignore.

    Args:
        folder: The folder of the run that made the checkpoint.
        record: That run's record.
        rule: The value of `code`.
        anew: How to start a run without the checkpoint, for the error message.

    Raises:
        RunError: The rule is refuse, or it is auto and the code decides how the training goes on.
    """
    other = _changed(record, rule)
    if not other:
        return _unknown_code(folder) if other is None else None
    if rule != "warn" and (refused := other if rule == "refuse" else _deciding(other)):
        raise RunError(
            f"{shown(folder)} must go on with the code that it began with, and {changed_since(refused)}; restore the"
            f" code, or allow it with code=warn; {anew or 'a new run needs another hydra.run.dir'}"
        )
    return f"{shown(folder)} goes on with other code: {changed_since(other)}"


def _changed(record: Record, rule: str) -> list[str] | None:
    """Return the modules of the run that have changed, under the rule; None where its record names no code."""
    if rule == "ignore":
        return []
    return modules(record) if record.code else None


def of_sweep(
    finished: Sequence[Record], going_on: Sequence[tuple[Path, Record]], rule: str, *, total: int
) -> str | None:
    """Return one warning about all runs of a sweep that were made by other code; None if there is none.

    Args:
        finished: The finished runs.
        going_on: The runs that have a checkpoint, with their folders.
        rule: The value of `code`.
        total: The number of the sweep's runs.

    Raises:
        RunError: The rule refuses some of them.
    """
    if rule == "ignore":
        return None
    done, cut = _changed_of_each(finished), _changed_of_each([record for _, record in going_on])
    refused = (
        cut if rule == "refuse" else [] if rule == "warn" else [found for each in cut if (found := _deciding(each))]
    )
    if refused:
        first = next(folder for folder, record in going_on if record.code and set(modules(record)) & set(refused[0]))
        raise RunError(
            f"{len(refused)} of {total} runs must go on with the code that they began with, such as {shown(first)}, and"
            f" {changed_since(_union(refused))}; restore the code, do all in another hydra.sweep.dir, or allow it with"
            " code=warn"
        )
    if done and rule == "refuse":
        raise RunError(
            f"{len(done)} of {total} runs must have finished with the code that is there now (code=refuse), and"
            f" {changed_since(_union(done))}; do them over in another hydra.sweep.dir, or allow it with code=warn"
        )
    told = []
    if done:
        told.append(f"{len(done)} of {total} runs finished with other code ({changed_since(_union(done))})")
    if cut:
        told.append(f"{len(cut)} of {total} runs go on with other code ({changed_since(_union(cut))})")
    unknown = sum(not record.code for record in (*finished, *(record for _, record in going_on)))
    if unknown:
        told.append(f"{unknown} of {total} runs say nothing of their code")
    if not told:
        return None
    return f"{'; '.join(told)}: another hydra.sweep.dir does all over, and code=ignore leaves this line out"


def _changed_of_each(records: Iterable[Record]) -> list[list[str]]:
    """Return the changed modules of each record that has any."""
    judged: dict[str, list[str]] = {}  # most runs of a sweep have the same code
    found = []
    for record in records:
        code = repr((record.code, record.code_since))
        if code not in judged:
            judged[code] = modules(record) if record.code else []
        found.append(judged[code])
    return [other for other in found if other]


def _union(several: Iterable[Sequence[str]]) -> list[str]:
    return sorted({name for each in several for name in each})


def continued(record: Record, now: Code) -> tuple[Code, list[Code]]:
    """Return the code that a run began with, and the modules that have changed since, up to the code `now`.

    Where the record says nothing of its code, no change is known. Outside protocols and loggers decide nothing of the
    training so far, so theirs is the present code.

    Args:
        record: The record of the run that made the checkpoint.
        now: The present code.
    """
    if not record.code:
        return {}, []
    latest: Code = dict(record.code)
    for part in record.code_since:
        latest.update(part)
    other = _deciding(codebase.differing(latest, now))
    parts = [*record.code_since, {name: now.get(name, "") for name in other}]
    since = [kept for part in parts if (kept := {name: part[name] for name in _deciding(list(part))})]
    present = {name: digests for name, digests in now.items() if name.startswith(_AFTER)}
    return {name: record.code[name] for name in _deciding(list(record.code))} | present, since


def between_outside(records: Iterable[Record]) -> list[str]:
    """Return the outside components, as `axis.name`, whose code differs between the records."""
    return [name.partition(".")[2] for name in between(records) if name.partition(".")[0] == origins.CODE]


def between(records: Iterable[Record]) -> list[str]:
    """Return the modules whose code differs between the records. Records that name no code are left out."""
    first, *others = [each for record in records if record.code for each in _parts(record)] or [{}]
    found = {(name, name in first and name in other) for other in others for name in codebase.differing(first, other)}
    # a component that only one of two runs has is the subject of the comparison
    return sorted({name for name, both in found if both or name.partition(".")[0] != origins.CODE})


def _parts(record: Record) -> list[Code]:
    """Return the whole code of each part of a run."""
    parts = [record.code]
    for changes in record.code_since:
        parts.append({**parts[-1], **changes})
    return parts


def _unknown_code(folder: Path) -> str:
    return (
        f"{shown(folder)} says nothing of its code, so that changes since cannot be seen; code=ignore leaves this line"
        " out"
    )
