"""What happens when a run was made by other code than there is now. Imports no torch.

`code` in the configuration is the rule. auto warns of a finished run and refuses to go on in the middle of one; ignore,
warn and refuse hold for both. Where a record says nothing of its code, there is a warning at most.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from imgrec import codebase
from imgrec.codebase import Code, changed_since
from imgrec.config import origins
from imgrec.errors import RunError, done_over, shown
from imgrec.records import Record


def modules(record: Record) -> list[str]:
    """The modules of the run that are other code now than in any part of it."""
    found = set[str]()
    for part in (record.code, *record.code_since):
        others = {name: digests for name, digests in part.items() if name.partition(".")[0] == origins.CODE}
        own = {name: digests for name, digests in part.items() if name not in others}
        found.update(codebase.changed(own), origins.changed(others))
    return sorted(found)


def of_finished(folder: Path, record: Record, rule: str, *, named: bool = False) -> str | None:
    """A warning about a finished run whose code has changed since; None where it has not, or the rule is ignore.

    named: True if the command names the folder. Raises RunError where the rule is refuse.
    """
    other = _changed(record, rule)
    if not other:
        return _unknown(folder) if other is None else None
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
    """A warning about a state to go on from that other code has made; None where none has, or the rule is ignore.

    folder: the run's that made the state. anew: how to start a run without it, for the refusal. Raises RunError where
    the rule is auto or refuse.
    """
    other = _changed(record, rule)
    if not other:
        return _unknown(folder) if other is None else None
    if rule != "warn":
        raise RunError(
            f"{shown(folder)} must go on with the code that it began with, and {changed_since(other)}; restore the"
            f" code, or allow it with code=warn; {anew or 'a new run needs another hydra.run.dir'}"
        )
    return f"{shown(folder)} goes on with other code: {changed_since(other)}"


def _changed(record: Record, rule: str) -> list[str] | None:
    """The modules of the run that count as other code under the rule; None where its record names no code."""
    if rule == "ignore":
        return []
    return modules(record) if record.code else None


def of_sweep(
    finished: Sequence[Record], going_on: Sequence[tuple[Path, Record]], rule: str, *, total: int
) -> str | None:
    """One warning about all runs of a sweep, of which some were made by other code; None where there is none to give.

    going_on: the runs that have a state, and where they lie. total: the runs of the sweep. Raises RunError where the
    rule refuses some of them.
    """
    if rule == "ignore":
        return None
    done, cut = _others(finished), _others([record for _, record in going_on])
    if cut and rule != "warn":
        first = next(folder for folder, record in going_on if record.code and modules(record))
        raise RunError(
            f"{len(cut)} of {total} runs must go on with the code that they began with, such as {shown(first)}, and"
            f" {changed_since(_all(cut))}; restore the code, do all in another hydra.sweep.dir, or allow it with"
            " code=warn"
        )
    if done and rule == "refuse":
        raise RunError(
            f"{len(done)} of {total} runs must have finished with the code that is there now (code=refuse), and"
            f" {changed_since(_all(done))}; do them over in another hydra.sweep.dir, or allow it with code=warn"
        )
    told = []
    if done:
        told.append(f"{len(done)} of {total} runs finished with other code ({changed_since(_all(done))})")
    if cut:
        told.append(f"{len(cut)} of {total} runs go on with other code ({changed_since(_all(cut))})")
    unknown = sum(not record.code for record in (*finished, *(record for _, record in going_on)))
    if unknown:
        told.append(f"{unknown} of {total} runs say nothing of their code")
    if not told:
        return None
    return f"{'; '.join(told)}: another hydra.sweep.dir does all over, and code=ignore leaves this line out"


def _others(records: Iterable[Record]) -> list[list[str]]:
    """For each record whose code has changed since: the modules."""
    judged: dict[str, list[str]] = {}  # most runs of a sweep are of the same code
    found = []
    for record in records:
        code = repr((record.code, record.code_since))
        if code not in judged:
            judged[code] = modules(record) if record.code else []
        found.append(judged[code])
    return [other for other in found if other]


def _all(several: Iterable[Sequence[str]]) -> list[str]:
    return sorted({name for each in several for name in each})


def continued(record: Record, now: Code) -> tuple[Code, list[Code]]:
    """What a run's code was when its state began, and the modules that have changed since, with those of `now`.

    record: of the run that made the state. Where it says nothing of its code, nothing is known to have changed.
    """
    if not record.code:
        return {}, []
    latest: Code = dict(record.code)
    for part in record.code_since:
        latest.update(part)
    other = codebase.differing(latest, now)
    since = [*record.code_since, *([{name: now.get(name, "") for name in other}] if other else [])]
    return dict(record.code), since


def between(records: Iterable[Record]) -> list[str]:
    """The modules that are other code in some of the records than in others, of those that say."""
    first, *others = [each for record in records if record.code for each in _parts(record)] or [{}]
    found = {(name, name in first and name in other) for other in others for name in codebase.differing(first, other)}
    # a component that only one of two runs has is what they compare
    return sorted({name for name, both in found if both or name.partition(".")[0] != origins.CODE})


def _parts(record: Record) -> list[Code]:
    """The whole code of each part of a run."""
    parts = [record.code]
    for changes in record.code_since:
        parts.append({**parts[-1], **changes})
    return parts


def _unknown(folder: Path) -> str:
    return (
        f"{shown(folder)} says nothing of its code, so that changes since cannot be seen; code=ignore leaves this line"
        " out"
    )
