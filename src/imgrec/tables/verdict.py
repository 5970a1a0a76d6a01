"""Write a table's answer as a sentence that a reader can quote. Imports no torch."""

from collections.abc import Sequence

from imgrec.config.primary import Primary
from imgrec.statistics import LEVEL
from imgrec.tables import leader
from imgrec.tables.column import Column
from imgrec.tables.compare import Compared
from imgrec.tables.contrasts import Outcome
from imgrec.tables.factors import full
from imgrec.tables.leader import Standing, mean_of
from imgrec.tables.table import Row, Table

_MOST = 4  # declared pairs that are listed; the rest is counted


def give(
    table: Table,
    standings: Sequence[Standing],
    outcomes: Sequence[Outcome],
    primary: Sequence[Primary],
    left_out: int = 0,
) -> None:
    """Set the table's verdict: the results of contrasts, then the standing of the primary score.

    Without a primary score, the first score takes its place.

    Args:
        table: The table to change.
        standings: One for each column.
        outcomes: The results of the contrasts that were asked for, and of the declared ones.
        primary: What the runs' studies declared.
        left_out: How many declared pairs the table's conditions leave out.
    """
    elsewhere = {each.declared.words: each for each in outcomes if not each.is_shown}
    outcomes = [each for each in outcomes if each.is_shown]
    asked, declared = ([each for each in outcomes if each.is_asked is wanted] for wanted in (True, False))
    told = [_contrast_sentence(table, outcome) for outcome in (*asked, *declared[:_MOST])]
    if len(declared) > _MOST:
        told.append(f"{len(declared) - _MOST} more pairs were declared.")
    told += [_elsewhere_sentence(table, outcome) for outcome in elsewhere.values()]
    if left_out and declared:
        told.append(
            f"--where leaves out {left_out} more; p is corrected over {'it' if left_out == 1 else 'them'}, too."
        )
    metrics = [each.metric for each in primary]
    of_scores = [k for k, column in enumerate(table.columns) if not column.is_reference] or [0]
    number = next((k for k in of_scores if table.columns[k].metric in metrics), of_scores[0])
    told.append(_standing_sentence(table, outcomes, number, standings[number]))
    table.verdict = " ".join(filter(None, told))
    shown = {column.metric for column in table.columns} | {each.metric for each in primary if each.ours}
    unseen = [metric for metric in dict.fromkeys(metrics) if metric not in shown]
    measured = {score.metric for row in table.rows for run in row.runs for score in run.record.scores}
    if there := [metric for metric in unseen if metric in measured]:
        table.notes.append(f"declared as primary and not shown: {', '.join(there)}; give --scores {','.join(there)}")
    if absent := [metric for metric in unseen if metric not in measured]:
        table.notes.append(f"declared as primary, and measured by no run here: {', '.join(absent)}")


def _standing_sentence(table: Table, outcomes: Sequence[Outcome], number: int, standing: Standing) -> str:
    """Return the standing of a score in words.

    What a declared contrast of its first two settings already says is not repeated.
    """
    column = table.columns[number]
    pairs = [
        {each.ours.row.setting, each.theirs.row.setting}
        for each in outcomes
        if each.found and each.ours and each.theirs and not each.there and (each.column, each.at) == (column, table.at)
    ]
    first, second = standing.first, standing.second
    if first is None or second is None or {first.setting, second.setting} not in pairs:
        return _sentence(table, column, number, standing)
    if len(table.rows) == 2:
        return ""
    if not standing.doubts:
        return f"Of all settings it is {leader.named(table, first, first.cells[number])} that is best."
    doubt = standing.doubts[0]
    if len(standing.doubts) == 1 and doubt.way_out:
        return f"None of all settings is marked as best; {doubt.way_out.removeprefix('; ')}."
    return _sentence(table, column, number, standing)


def _contrast_sentence(table: Table, outcome: Outcome) -> str:
    """Return the result of a contrast in words."""
    of = "Contrast asked for" if outcome.is_asked else "Primary contrast, declared in the study"
    begins = f"{of}: {outcome.column.label} at {outcome.at}"
    if outcome.found is None or outcome.ours is None or outcome.theirs is None:
        return f"{begins}, {outcome.declared.words.partition(': ')[2]}: {outcome.missing}."
    if outcome.there:
        return f"{begins}: {_interaction(table, outcome)}."
    column = outcome.column
    amount = column.sign * (mean_of(outcome.ours.cell) - mean_of(outcome.theirs.cell))
    sides = [outcome.ours, outcome.theirs] if amount >= 0 else [outcome.theirs, outcome.ours]
    ours, theirs = (leader.named(table, side.row, side.cell) for side in sides)
    found = outcome.found if amount >= 0 else outcome.found.turned
    doubt = _doubt(outcome)
    if amount == 0:
        return f"{begins}: can't tell; {ours} and {theirs} have the same mean."
    told = lead(column, abs(amount), found, p=outcome.p, p_over_both=outcome.p_over_both)
    return f"{begins}: {doubt}{ours} leads {theirs} by {told}."


def _doubt(outcome: Outcome) -> str:
    if outcome.p is None or (outcome.found and outcome.found.both and not outcome.found.both.of_runs):
        return "can't tell of the settings; "  # one run each says nothing beyond these networks
    return "" if outcome.p < LEVEL else "can't tell; "


def _interaction(table: Table, outcome: Outcome) -> str:
    """Return in words how far the lead of one setting over another depends on a condition.

    The condition with the larger lead is named first.
    """
    assert outcome.ours is not None
    assert outcome.theirs is not None
    assert outcome.found is not None
    declared, column = outcome.declared, outcome.column
    pairs = ((outcome.ours, outcome.theirs), outcome.there)
    leads = [column.sign * (mean_of(one.cell) - mean_of(other.cell)) for one, other in pairs]
    conditions, found = [declared.here, declared.there], outcome.found
    if leads[0] < leads[1]:
        leads, conditions, found = leads[::-1], conditions[::-1], found.turned
    ours, theirs, first, second = (
        " ".join(table.names.words(full(key), value) for key, value in pairs.items())
        for pairs in (declared.ours, declared.theirs, *conditions)
    )
    named = {full(key) for pair in declared.pairs for key in pair[0]}
    settings = zip(table.factors.keys, *(side.row.setting for pair in pairs for side in pair), strict=True)
    alike = [table.names.words(key, values[0]) for key, *values in settings if key not in named and len({*values}) == 1]
    places = _places(column)
    beside = f"{' '.join(alike)}: " if alike else ""
    told = lead(column, leads[0] - leads[1], found, p=outcome.p, p_over_both=outcome.p_over_both)
    larger, smaller = (f"{each:.{places}f}{column.unit}" for each in leads)
    return (
        f"{beside}{_doubt(outcome)}the lead of {ours} over {theirs} is {larger} with {first} and {smaller} with"
        f" {second}, a difference of {told}"
    )


def _elsewhere_sentence(table: Table, outcome: Outcome) -> str:
    """Return in words that the table does not show the score of a declared contrast, and how to show it."""
    column, contrast = outcome.column, outcome.declared.words.partition(": ")[2]
    way_out = []
    shown = table.columns[0]
    metrics = dict.fromkeys(each.metric for each in table.columns)
    if column.metric not in metrics:
        way_out.append(f"--scores {column.metric}")
    if column.split != shown.split:
        way_out.append(f"--split {column.split}")
    if all((each.protocol, each.settings) != (column.protocol, column.settings) for each in table.columns):
        way_out.append(f"--protocol {column.protocol}")
    if outcome.at != table.at:
        way_out.append(f"--at {outcome.at}")
    instead = f"; give {' '.join(way_out)}" if way_out else ""
    missing = "" if outcome.ours else f"; {outcome.missing}"
    return (
        f"The primary contrast of the study, {contrast}, was declared for {column.label} at {outcome.at}, which this"
        f" table does not show{instead}{missing}."
    )


def _sentence(table: Table, column: Column, number: int, standing: Standing) -> str:
    if column.is_reference:
        return f"{column.label}: what perfect calibration would show; no setting is better by it."
    if standing.incomparable:
        return f"{column.label}: the settings are not compared, as they are of {standing.incomparable}."
    if standing.first is None:
        return f"{column.label}: no setting has a score yet."
    if standing.second is None or standing.found is None:
        return _single_sentence(table, column, number, standing.first)
    if standing.doubts:
        return _doubt_sentence(column, standing)
    first, second = (leader.named(table, row, row.cells[number]) for row in (standing.first, standing.second))
    ours, theirs = standing.first.cells[number], standing.second.cells[number]
    return (
        f"{column.label}: {first} is best; it leads {second}, the next, by"
        f" {lead(column, column.sign * (mean_of(ours) - mean_of(theirs)), standing.found)}."
    )


def _single_sentence(table: Table, column: Column, number: int, row: Row) -> str:
    """Return the score of a single setting in words."""
    cell = row.cells[number]
    n, places = len(cell.values), _places(column)
    known = []
    if cell.summary is not None and cell.summary.low is not None:
        known.append(f"[{cell.summary.low:.{places}f}, {cell.summary.high:.{places}f}] on these images")
    if cell.over_both is not None:
        ends = (end * column.scale for end in (cell.over_both.low, cell.over_both.high))
        known.append(f"[{', '.join(f'{end:.{places}f}' for end in ends)}] on new images")
    within = f", 95 % {', '.join(known)}" if known else ""
    named = leader.named(table, row, cell)
    of = "" if named == "the runs" else f"{named}, "
    return f"{column.label}: {of}{mean_of(cell):.{places}f} ({n} seed{'s' * (n != 1)}{within})."


def _doubt_sentence(column: Column, standing: Standing) -> str:
    doubt = standing.doubts[0]
    rest = len(standing.doubts) - 1
    more = f" Nor can it be told from {rest} more setting{'s' * (rest > 1)}." if rest else ""
    if doubt.lead == 0:
        return f"{column.label}: can't tell which is best; {doubt.reason}.{more}"
    told = f"{doubt.leader} leads {doubt.other} by {lead(column, doubt.lead, doubt.found)}"
    why = doubt.way_out.removeprefix("; ") or doubt.why
    if doubt.way_out and _is_significant(doubt.found):
        return f"{column.label}: {told}, too little for a leader that was picked after looking; {why}.{more}"
    return f"{column.label}: can't tell which is best; {told}{f'; {why}' if why else ''}.{more}"


def _is_significant(found: Compared) -> bool:
    """Return True if all known p values (over seeds, over new images) are below 5 %, without correction."""
    ps = [found.seeds.shown.p, found.both.p if found.both else None]
    known = [p for p in ps if p is not None]
    return bool(known) and max(known) < LEVEL


def lead(
    column: Column, amount: float, found: Compared, *, p: float | None = None, p_over_both: float | None = None
) -> str:
    """Return the lead in words, with p where it is given.

    An example is `1.67 points [0.27, 3.07] (5 seeds each, these images); new images: [-0.10, 3.40]`.
    """
    places = _places(column)
    shown = found.seeds.shown

    def ends(low: float, high: float) -> str:
        signed = sorted((column.sign * low, column.sign * high))
        return f"[{', '.join(f'{end:.{places}f}' for end in signed)}]"

    few, many = sorted(found.runs)
    n = f"{few} seed{'s' * (few != 1)} each" if few == many else f"{few} and {many} seeds"
    said = f"{amount:.{places}f}{column.unit}"
    if shown.low is not None and shown.high is not None:
        said += f" {ends(shown.low, shown.high)}"
    said += f" ({n}, these images{_p(p)})"
    both = found.both
    if both is not None and both.low is not None and both.high is not None:
        what = "new images" if both.of_runs else "these two runs on new images"
        said += f"; {what}: {ends(both.low * column.scale, both.high * column.scale)}"
        if p_over_both is not None:
            untold = ": of them can't tell" if p_over_both >= LEVEL and p is not None and p < LEVEL else ""
            said += f" ({_p(p_over_both).removeprefix(', ')}{untold})"
    return said


def _p(p: float | None) -> str:
    return "" if p is None else ", p < 0.001" if p < 0.001 else f", p = {p:.2g}"


def _places(column: Column) -> int:
    return 4 if column.scale == 1 else 2
