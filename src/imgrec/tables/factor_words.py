"""Find the factors and the runs that the words of a command name. Imports no torch."""

import shlex
from collections.abc import Sequence

from imgrec.config.fields import nearest
from imgrec.errors import UsageError
from imgrec.tables.factors import (
    ABSENT,
    PARENT,
    RESUMED,
    ROOT,
    SOURCES,
    Factors,
    derive,
    is_determined,
    keys_of,
    short,
    text,
    value_of,
)
from imgrec.tables.gather import Run


def chosen(runs: Sequence[Run], keys: Sequence[str]) -> Factors:
    """Return these keys as the factors.

    Raises:
        UsageError: A key is unknown, or another key varies independently of them.
    """
    derived = derive(runs)
    for key in keys:
        check_known(runs, key, as_factor=True)
        if list(keys).count(key) > 1:
            raise UsageError(f"{short(key)} must be named once, got it twice; it is a row or a column")
    for key in derived.keys:
        if key not in keys and not is_determined(runs, key, keys):
            owns = {text(value_of(run.record, key)) for run in runs}
            values = sorted(derived.parents.get(own, own) if key == PARENT else own for own in owns)
            fixed = values[:1]
            if ABSENT in values[1:] and key != PARENT:
                fixed.append(ABSENT)  # the choices that lack the key stay
            one = shlex.quote(f"{short(key)}={','.join(fixed)}")
            raise UsageError(
                f"{short(key)} must be a factor of the table, as it varies ({', '.join(values)}) beside"
                f" {', '.join(map(short, keys))}; name it as well, or fix it with --where {one}"
            )
    return Factors(keys=tuple(keys), along=derived.along, parents=derived.parents)


def matches(run: Run, key: str, values: Sequence[str]) -> bool:
    """Return True if the run has one of the values. Numbers may be written in any form: 1e-3 matches 0.001."""
    owns = {text(value_of(run.record, key))}
    if key in (ROOT, *SOURCES):
        owns.add(str(run.record.config.get(key)))
    if key == PARENT and run.record.parent:
        owns.add(RESUMED)
    return any(is_value(own, value) for own in owns for value in values)


def is_value(own: str, value: str) -> bool:
    """Return True if both are the same text or the same number."""
    return own == value or _number(own) == _number(value) is not None


def _number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def check_known(runs: Sequence[Run], key: str, *, as_factor: bool) -> None:
    """Check that some run has the key, or, with `as_factor`, that the key can be a factor.

    Raises:
        UsageError: It does not hold; the message names the nearest known key.
    """
    known = [short(name) for name in keys_of(runs)]
    if not as_factor:
        known += [short(name) for run in runs for name in run.record.config]
    if short(key) not in known:
        guess = nearest(short(key), known)
        varied = ", ".join(map(short, derive(runs).keys)) or "their seeds alone"
        hint = f"did you mean {guess}?" if guess else f"the runs differ in {varied}"
        what = "be a factor of the runs" if as_factor else "be a key of the runs"
        raise UsageError(f"{short(key)} must {what}, and is none; {hint}")
