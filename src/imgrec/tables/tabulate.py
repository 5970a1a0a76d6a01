"""Make a table from runs: factors, scores of each setting, comparisons, notes on what is missing. Imports no torch."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from imgrec.config.fields import nearest
from imgrec.config.held_out import FOLD
from imgrec.errors import UsageError, shown
from imgrec.records import Score
from imgrec.tables import (
    column_words,
    compare,
    contrasts,
    derived_scores,
    factor_words,
    factors,
    folds,
    leader,
    marginal_means,
    measured,
    places,
    provenance,
    verdict,
)
from imgrec.tables import notes as notes_below
from imgrec.tables.cells import cell_of
from imgrec.tables.column import Column
from imgrec.tables.correctness import Reader
from imgrec.tables.factors import Factors, Setting, full, short
from imgrec.tables.gather import Run, difference_of
from imgrec.tables.published import Figure
from imgrec.tables.table import Condition, Request, Row, Table


def tabulate(runs: Sequence[Run], request: Request, figures: Sequence[Figure] = ()) -> Table:
    """Group the runs by the factors that were varied in them, and compare the groups.

    Args:
        runs: The runs.
        request: What the table shows.
        figures: Published figures to show beside the rows.

    Raises:
        UsageError: The request names what the runs do not have.
    """
    notes: list[str] = []
    kept = _merge_repeats(keep(runs, request.where), notes)
    split = request.split or column_words.split_of(kept)
    closed = [run for run in kept if split == "test" and _is_closed(run)]
    if len(closed) == len(kept):
        raise UsageError("--split test needs runs that opened the test set, and all kept it closed; give --split val")
    if closed:
        kept = [run for run in kept if run not in closed]
        left_out = f"{len(closed)} run{'s' * (len(closed) > 1)}"
        notes.append(f"left out: {left_out} with test=false, as tuning has them; --split val shows them")
    reader = Reader()
    declared = contrasts.declared(kept)

    def declared_column(metric: str) -> Column:
        return column_words.declared(kept, metric, request.names)

    derived_scores.add(kept, {*request.scores, *(each.metric for each in declared)}, reader)
    columns = column_words.columns(kept, request.scores, split, request.protocols, request.names)
    column_words.check_scores(kept, columns)
    found, rows = _settings(kept, _factors(kept, request), request, columns, notes, reader)
    by_fold = any(FOLD in row.over for row in rows)
    if over := [key for key in marginal_means.keys_of(request.average) if not (by_fold and key == FOLD)]:
        found, rows = marginal_means.over(rows, found, over, columns, request.names, notes)
        if declared:
            notes.append("the contrasts that the study declared are of settings by themselves: without --average")
        if request.contrasts:
            raise UsageError("--contrast compares settings by themselves, got --average; leave one of both out")
        declared = []
    if request.sort is not None:
        rows.sort(key=_sort_key(request.sort, found, columns))
    table = Table(
        factors=found,
        columns=columns,
        rows=rows,
        at=request.at,
        baseline=request.baseline,
        pivot=full(request.columns) if request.columns else None,
        notes=notes,
        warnings=provenance.warnings(kept),
        problems=reader.problems,
        names=request.names,
    )
    for row in rows:
        if differ := row.different_code:
            table.warnings.append(
                f"{table.name_of(row.setting)}: made by different code of {', '.join(differ)}; train them"
                " again in another folder, or leave some out"
            )
        differ_on = provenance.of_devices(row.runs, columns, request.at)
        table.warnings += [f"{table.name_of(row.setting)}: {told}" for told in differ_on]
    notes_below.describe(table, notes, reader)
    if request.where:
        notes.append(f"kept: {' '.join(condition.words for condition in request.where)}")
    compare.with_baseline(table, request.baseline)
    whole = _whole_study(table, runs, kept, request, reader) if request.where and declared else None
    outcomes, unshown = contrasts.of(table, declared, reader, declared_column, whole)
    asked = contrasts.asked(table, request.contrasts, reader)
    verdict.give(table, leader.mark(table), [*asked, *outcomes], declared, unshown)
    for row in rows:
        row.published = [
            figure for figure in figures if any(figure.fits(row.runs[0].record, column) for column in columns)
        ]
    if figures and not any(row.published for row in rows):
        keys = ", ".join(dict.fromkeys(figure.source.key for figure in figures))
        notes.append(f"no published figure of {keys} is of these settings, data, split and protocol")
    notes_below.tell_of_predictions(table, reader)
    column_words.tell_of_rows(kept, columns, notes)
    places.tell(table)
    notes_below.tell_of_settings(table)
    notes_below.tell_what_is_missing(table)
    notes += [f"goes along: {line}" for line in found.along]
    table.provenance = provenance.line(kept)
    notes.append(table.provenance)
    return table


def _whole_study(table: Table, runs: Sequence[Run], kept: Sequence[Run], request: Request, reader: Reader) -> Table:
    """Return the table of the whole studies that the kept runs belong to.

    These are all runs that declare one of the same contrasts.
    """
    words = {word for run in kept for word in _declares(run)}
    shown = {run.path for run in keep(runs, request.where)}
    rest = [run for run in runs if run.path not in shown and words & set(_declares(run))]
    others = [run for run in _merge_repeats(rest, []) if table.columns[0].split != "test" or not _is_closed(run)]
    derived_scores.add(others, {each.metric for each in contrasts.declared([*kept, *others])}, reader)
    study = [*(run for run in kept if words & set(_declares(run))), *others]
    found, rows = _settings(study, factors.derive(study), request, table.columns, [], reader)
    return replace(table, factors=found, rows=rows, notes=[], warnings=[])


def _declares(run: Run) -> tuple[str, ...]:
    return tuple(word for word in run.record.config.get("primary") or () if isinstance(word, str))


def _sort_key(sort: str, found: Factors, columns: Sequence[Column]) -> Callable[[Row], tuple[Any, ...]]:
    """Return the sort key of rows: a score, with the best first and missing scores last, or a factor.

    Raises:
        UsageError: `sort` is neither a score nor a factor of the table.
    """
    metrics = [column.metric for column in columns]
    if sort in metrics:
        number = metrics.index(sort)

        def lead(row: Row) -> tuple[Any, ...]:
            summary = row.cells[number].summary
            return (summary is None, -columns[number].sign * summary.mean if summary else 0.0)

        return lead
    if full(sort) in found.keys:
        place = found.keys.index(full(sort))
        return lambda row: factors.order((row.setting[place],))
    known = [*metrics, *map(short, found.keys)]
    guess = nearest(sort, known)
    hint = f"did you mean {guess}?" if guess else f"there are {', '.join(known)}"
    raise UsageError(f"--sort {sort} must be a score or a factor of the table, and is neither; {hint}")


def keep(runs: Sequence[Run], where: Sequence[Condition]) -> list[Run]:
    """Return the runs that meet all conditions.

    Raises:
        UsageError: A condition leaves no run.
    """
    kept = list(runs)
    for condition in where:
        key = full(condition.key)
        factor_words.check_known(runs, key, as_factor=False)
        values = condition.values
        if key == factors.PARENT:  # as a table of these runs shows it
            values += tuple(name for name, brief in factors.parents_of(kept).items() if brief in values)
        left = [run for run in kept if factor_words.matches(run, key, values) != condition.is_negated]
        if not left:
            there = sorted({factors.text(factors.value_of(run.record, key)) for run in kept})
            raise UsageError(f"--where {condition.words} must leave runs, and leaves none; there is {', '.join(there)}")
        kept = left
    return kept


def _merge_repeats(runs: Sequence[Run], notes: list[str]) -> list[Run]:
    """Return the runs with each training counted once, and note the others.

    A tuning run and the final run of the same training differ only in what they measured. The run with more scores
    stays, and takes the scores that only the other has, if both have the same weights.
    """
    kept: list[Run] = []
    places: dict[str, int] = {}
    for run in runs:
        trained = repr(
            [
                *factors.training(run.record),
                run.record.fingerprint,
                run.record.parent_id or run.record.parent,
                run.record.init.get("sha256"),
            ]
        )
        place = places.setdefault(trained, len(kept)) if run.record.status == "finished" else len(kept)
        if place == len(kept):
            kept.append(run)
            continue
        more, less = sorted((kept[place], run), key=lambda each: -len(each.record.scores))
        kept[place] = more
        differ = difference_of([more, less])
        notes.append(f"one training, counted once{differ}: {shown(more.name)}, not {shown(less.name)}")
        if differ:
            continue
        known = {(_measured(score), measured.settings_of(more, score)) for score in more.record.scores}
        more.record.scores += [
            score for score in less.record.scores if (_measured(score), measured.settings_of(less, score)) not in known
        ]
    return kept


def _measured(score: Score) -> tuple[str, ...]:
    return score.split, score.protocol, score.metric, score.at


def _is_closed(run: Run) -> bool:
    return run.record.config.get("test") is False and not _has(run, "test")


def _has(run: Run, split: str) -> bool:
    return any(score.split == split for score in run.record.scores)


def _factors(runs: Sequence[Run], request: Request) -> Factors:
    """Return the factors that were requested, or else those that were varied. A pivot's factor is among them."""
    across = full(request.columns) if request.columns else None
    found = factors.derive(runs)
    if request.rows:
        keys = [*map(full, request.rows), *([across] if across else [])]
        averaged = [*marginal_means.keys_of(request.average), *([FOLD] if FOLD in found.keys else [])]
        return factor_words.chosen(runs, [*keys, *dict.fromkeys(key for key in averaged if key not in keys)])
    if across is not None and across not in found.keys:
        varied = ", ".join(map(short, found.keys)) or "nothing"
        raise UsageError(f"--columns {short(across)} must be a factor of the runs, and in them {varied} varies")
    return found


def _settings(
    runs: Sequence[Run],
    found: Factors,
    request: Request,
    columns: Sequence[Column],
    notes: list[str],
    reader: Reader,
) -> tuple[Factors, list[Row]]:
    """Return the factors and their rows. Folds are averaged over, unless the request names them as rows or columns."""
    if FOLD not in found.keys:
        folds.tell_of_single(runs, notes)
    rows = _rows(runs, found, columns, request.at, notes, reader)
    if FOLD in found.keys and FOLD not in (*request.rows, request.columns):
        return folds.average(rows, found, columns, request.names, notes)
    return found, rows


def _rows(
    runs: Sequence[Run], found: Factors, columns: Sequence[Column], at: str, notes: list[str], reader: Reader
) -> list[Row]:
    groups: dict[Setting, list[Run]] = {}
    for run in runs:
        groups.setdefault(found.setting(run), []).append(run)
    asked: dict[tuple[Path, bool], set[int]] = {}
    for run in runs:
        asked.setdefault(_sweep_of(run), set()).add(run.seed)
    rows = []
    for setting in sorted(groups, key=factors.order):
        group = sorted(groups[setting], key=lambda run: (run.seed, str(run.path)))
        cells = [cell_of(group, column, at, reader) for column in columns]
        seeds = sorted(set().union(*(asked[_sweep_of(run)] for run in group)))
        present = {run.seed for run in group}
        rows.append(
            Row(setting=setting, runs=group, cells=cells, missing=[seed for seed in seeds if seed not in present])
        )
        twice = sorted({run.seed for run in group if sum(other.seed == run.seed for other in group) > 1})
        if twice:
            named = zip(map(short, found.keys), setting, strict=True)
            which = " ".join(f"{key}={value}" for key, value in named) or "the runs"
            notes.append(f"{which}: several runs of seed {', '.join(map(str, twice))}, each counted")
    return rows


def _sweep_of(run: Run) -> tuple[Path, bool]:
    """Return the group of runs that should have the same seeds: the folder, and whether they are final or tuning."""
    return (run.folder or run.path).parent, run.record.config.get("test") is not False
