"""Find a run's score in a column of a table. Imports no torch."""

import math

from imgrec.records import Score
from imgrec.tables import measured
from imgrec.tables.column import Column
from imgrec.tables.gather import Run


def score_of(run: Run, column: Column, at: str) -> float | None:
    """Return the run's value of a column, in the record's unit; None where it has none or it is not finite."""
    score = found(run, column, at)
    return None if score is None else score.value


def found(run: Run, column: Column, at: str) -> Score | None:
    """Return the run's score of a column; None where it has none that is finite.

    Where a run has no `best`, its `last` is used.
    """
    score = _recorded(run, column, at)
    return score if score is not None and math.isfinite(score.value) else None


def is_lost(run: Run, column: Column, at: str) -> bool:
    """Return True if the run was measured, and the result is not finite."""
    score = _recorded(run, column, at)
    return score is not None and not math.isfinite(score.value)


def place_of(run: Run, column: Column, at: str) -> str | None:
    """Return where the run's score of a column was measured, best or last; None where it was not measured."""
    score = _recorded(run, column, at)
    return None if score is None else score.at


def _recorded(run: Run, column: Column, at: str) -> Score | None:
    if run.record.status != "finished":
        return None
    for place in (at, "last") if at == "best" else (at,):
        if found := measured.scores(run, column, place):
            return found[0]
    return None
