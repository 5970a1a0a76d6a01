"""From runs to a table: what was varied, the scores of each setting, what is not there. Imports no torch."""

import math
from collections.abc import Mapping, Sequence

from imgrec import statistics
from imgrec.errors import UsageError
from imgrec.tables import compare, factors, provenance
from imgrec.tables.factors import Factors, Setting, full, text, value_of
from imgrec.tables.gather import Run
from imgrec.tables.published import Figure
from imgrec.tables.table import Cell, Column, Request, Row, Table, Values

_LISTED = 5  # combinations without a run that are named before the rest is counted


def tabulate(runs: Sequence[Run], request: Request, figures: Sequence[Figure] = ()) -> Table:
    """Group the runs by what was varied in them, and compare.

    figures: published ones to put beside. Raises UsageError where the request names what the runs do not have.
    """
    kept = [run for run in runs if _matches(run, request.where)]
    if not kept:
        named = " ".join(f"{key}={value}" for key, value in request.where.items())
        raise UsageError(f"--where {named} must leave runs, and leaves none of {len(runs)}; drop one")
    split = request.split or ("test" if any(s.split == "test" for run in kept for s in run.record.scores) else "val")
    notes = []
    closed = [run for run in kept if split == "test" and run.record.config.get("test") is False]
    if closed:
        kept = [run for run in kept if run not in closed]
        if not kept:
            raise UsageError(
                f"--split test needs runs that opened the test set, and all {len(closed)} kept it closed;"
                " give --split val"
            )
        runs_left_out = f"{len(closed)} run{'s' * (len(closed) > 1)}"
        notes.append(f"left out: {runs_left_out} with test=false, as tuning has them; --split val shows them")
    protocol = request.protocol or _protocol(kept, split)
    columns = [Column(metric=metric, split=split, protocol=protocol) for metric in request.scores]
    _check_scores(kept, columns)
    wanted = [full(key) for key in (*request.rows, *((request.columns,) if request.columns else ()))]
    found = factors.chosen(kept, wanted) if wanted else factors.derive(kept)
    rows = _rows(kept, found, columns, request.at, notes)
    pivot = full(request.columns) if request.columns else None
    table = Table(
        factors=found,
        columns=columns,
        rows=rows,
        at=request.at,
        baseline=request.baseline,
        pivot=pivot,
        notes=notes,
        warnings=provenance.warnings(kept),
    )
    _describe(table, notes)
    compare.with_baseline(table, request.baseline)
    compare.mark_best(table)
    for row in rows:
        row.published = [figure for figure in figures if figure.fits(row.runs[0].record, request.scores)]
    _tell_what_is_missing(table)
    notes += [f"goes along: {line}" for line in found.given]
    notes.append(provenance.line(kept))
    return table


def _matches(run: Run, where: Mapping[str, str]) -> bool:
    return all(text(value_of(run.record, full(key))) == value for key, value in where.items())


def _protocol(runs: Sequence[Run], split: str) -> str:
    measured = dict.fromkeys(score.protocol for run in runs for score in run.record.scores if score.split == split)
    return "clean" if "clean" in measured or not measured else next(iter(measured))


def _check_scores(runs: Sequence[Run], columns: Sequence[Column]) -> None:
    """Refuse a score that no run has, naming those that are there."""
    known = {(score.metric, score.split, score.protocol) for run in runs for score in run.record.scores}
    if not known:
        return  # nothing has finished: the table says so
    for column in columns:
        if (column.metric, column.split, column.protocol) not in known:
            there = ", ".join(sorted(f"{metric} ({split}, {protocol})" for metric, split, protocol in known))
            raise UsageError(f"no run has the score {column.label.replace(' %', '')}; there are {there}")


def _rows(runs: Sequence[Run], found: Factors, columns: Sequence[Column], at: str, notes: list[str]) -> list[Row]:
    groups: dict[Setting, list[Run]] = {}
    for run in runs:
        groups.setdefault(found.setting(run), []).append(run)
    seeds = sorted({run.seed for run in runs})
    rows = []
    for setting in sorted(groups, key=factors.order):
        group = sorted(groups[setting], key=lambda run: (run.seed, str(run.path)))
        cells = [_cell(group, column, at) for column in columns]
        present = {run.seed for run in group}
        rows.append(
            Row(setting=setting, runs=group, cells=cells, missing=[seed for seed in seeds if seed not in present])
        )
        twice = sorted({run.seed for run in group if sum(other.seed == run.seed for other in group) > 1})
        if twice:
            which = " ".join(setting) or "the runs"
            notes.append(f"{which}: several runs of seed {', '.join(map(str, twice))}, each counted")
    return rows


def _cell(runs: Sequence[Run], column: Column, at: str) -> Cell:
    values: Values = {}
    for run in runs:
        value = _value(run, column, at)
        if value is not None and math.isfinite(value):
            same = [seed for seed, _ in values].count(run.seed)
            values[run.seed, same] = value * column.scale
    return Cell(values=values, summary=statistics.summarise(list(values.values())) if values else None)


def _value(run: Run, column: Column, at: str) -> float | None:
    if run.record.status != "finished":
        return None
    for place in (at, "last") if at == "best" else (at,):
        score = run.record.score(column.metric, split=column.split, at=place, protocol=column.protocol)
        if score is not None:
            return score.value
    return None


def _describe(table: Table, notes: list[str]) -> None:
    """Say how to read the numbers."""
    finished = [run for row in table.rows for run in row.runs if run.record.status == "finished"]
    without_best = [run for run in finished if table.at == "best" and not _has_best(run, table.columns)]
    place = {"best": "the epoch with the best validation top1", "last": "the last epoch"}[table.at]
    if without_best:
        whole = len(without_best) == len(finished)
        place = "the last epoch (there is no validation)" if whole else f"{place}, else the last"
    notes.insert(
        0,
        f"Mean ± sample standard deviation over n seeds at {place}, and the mean's 95 % interval (Student's t).",
    )
    counts = {len(cell.values) for row in table.rows for cell in row.cells}
    if 1 in counts:
        notes.append("n = 1 gives no deviation and no interval.")


def _has_best(run: Run, columns: Sequence[Column]) -> bool:
    return any(
        run.record.score(column.metric, split=column.split, at="best", protocol=column.protocol) for column in columns
    )


def _tell_what_is_missing(table: Table) -> None:
    for row in table.rows:
        name = table.name_of(row.setting)
        for run in row.runs:
            status, error = run.record.status, run.record.error
            if status != "finished":
                table.notes.append(f"{status}: {name} seed={run.seed}{f': {_reason(error)}' if error else ''}")
            elif any(_value(run, column, table.at) is None for column in table.columns):
                table.notes.append(f"without all scores: {name} seed={run.seed}")
        if row.missing:
            table.notes.append(f"missing: {name} seed={','.join(map(str, row.missing))}")
    if absent := [table.name_of(setting) for setting in _absent(table)]:
        more = f"; and {len(absent) - _LISTED} more" if len(absent) > _LISTED else ""
        table.notes.append(f"not run: {'; '.join(absent[:_LISTED])}{more}")


def _reason(error: str) -> str:
    """The reason without its class and the way out, which are for the one who ran it."""
    _, _, reason = error.partition(": ")
    return (reason or error).split(";")[0]


def _absent(table: Table) -> list[Setting]:
    """The combinations of two factors' values of which there is no run, where most of them have one."""
    if len(table.factors.keys) != 2:
        return []
    there = {row.setting for row in table.rows}
    ones, others = (list(dict.fromkeys(row.setting[k] for row in table.rows)) for k in (0, 1))
    lost: list[Setting] = [(one, other) for one in ones for other in others if (one, other) not in there]
    return lost if 2 * len(lost) <= len(ones) * len(others) else []
