"""Write the notes of a table: how to read its numbers, and what is missing. Imports no torch."""

import itertools
import math
import shlex
from collections.abc import Sequence

from imgrec import predictions
from imgrec.errors import shown
from imgrec.tables import derived_scores, measured, places, run_score
from imgrec.tables.column import Column
from imgrec.tables.correctness import Reader
from imgrec.tables.factors import Setting, short, text, value_of
from imgrec.tables.gather import Run
from imgrec.tables.table import Row, Table

_LISTED = 5  # combinations without a run that are named; the rest is counted
_DEBIASED = dict.fromkeys(
    (name for name in derived_scores.OF if name.endswith("debiased")),
    "; less its bias as Kumar et al. 2019 estimate it",
)


def describe(table: Table, notes: list[str], reader: Reader) -> None:
    """Add notes on how to read the numbers."""
    notes.insert(0, f"Mean ± sample standard deviation over n seeds{places.line(table)}. {_intervals_note(table)}")
    if any(cell.summary and cell.summary.std == 0 for row in table.rows for cell in row.cells):
        notes.append("Equal values (± 0) give no interval.")
    notes += _calibrations(table, reader)


def _intervals_note(table: Table) -> str:
    """Return in one line what the intervals cover."""
    cells = [cell for row in table.rows for cell in row.cells if cell.summary]
    several = any(cell.summary and cell.summary.low is not None for cell in cells)
    both = any(cell.over_both and len(cell.values) > 1 for cell in cells)
    single = any(cell.over_both and len(cell.values) == 1 for cell in cells)
    told = ["of new seeds on these very images (Student's t)"] if several else []
    if both:
        told.append(
            "under 'new images' of new seeds on new images (crossed random effects; 94 % or more in simulation)"
        )
    elif several:
        told.append("not of new images")
    if single:
        told.append("where n = 1 of that one run on new images (Wilson's)")
    return f"95 %: {', '.join(told)}." if told else "No setting has an interval."


def _calibrations(table: Table, reader: Reader) -> list[str]:
    """Return notes on calibration errors: the numbers of images, and the value for perfect calibration."""
    told = []
    for number, column in enumerate(table.columns):
        if not column.is_calibration:
            continue
        measured = [
            (run, score)
            for row in table.rows
            for run in row.runs
            if row.cells[number].summary and (score := run_score.found(run, column, table.at)) is not None
        ]
        images = sorted({score.n for _, score in measured})
        if not images:
            continue
        base = derived_scores.OF.get(column.metric, column.metric)
        own = [derived_scores.perfect(run, score, base, reader) for run, score in measured]
        known = [100 * each for each in own if each is not None]
        perfect = ""
        if known:
            ends = dict.fromkeys(f"{end:.2f}" for end in (min(known), max(known)))
            perfect = f", on which networks with these confidences, were they right, would show {' to '.join(ends)}"
        told.append(
            f"{column.label}: of {' or '.join(map(str, images))} images{perfect}{_DEBIASED.get(column.metric, '')}."
        )
    return told


def tell_of_predictions(table: Table, reader: Reader) -> None:
    """Note which predictions are missing although records name them.

    No statement on new images is possible without them.
    """
    if absent := {path for path, _ in reader.lost}:
        table.notes.append(
            f"predictions of {len(absent)} of {len(reader.named)} runs, which their records name, cannot be read;"
            f" restore {predictions.NAME}, as a lead without them is not marked"
        )
    for key, others in reader.thinned.items():
        at = "; give --at last" if key.replace("/best", "/last") in others else ""
        table.notes.append(f"not of new images: of {key} no predictions were kept, but of {', '.join(others)}{at}")


def _has_best(run: Run, columns: Sequence[Column]) -> bool:
    return any(measured.scores(run, column, "best") for column in columns)


def tell_what_is_missing(table: Table) -> None:
    """Note which runs, scores and settings are missing."""
    missing = []
    for row in table.rows:
        name = table.name_of(row.setting)
        for run in row.runs:
            status, error = run.record.state, run.record.error
            if status != "finished":
                which = f"{name}{_averaged(row, run)} seed={run.seed}"
                table.notes.append(f"{status}: {which}{f': {_reason(error)}' if error else ''}")
            if lost := places.lost_best(run):
                instead = "a later epoch" if _has_best(run, table.columns) else "the last"
                table.notes.append(
                    f"best lost: {name} seed={run.seed}: best.ckpt of epoch {shown(str(lost.get('epoch')))}"
                    f" {shown(str(lost.get('why')))}; scored at {instead}"
                )
        table.notes += _missing_scores(table, row)
        if row.missing:
            missing.append(f"{name} seed={','.join(map(str, dict.fromkeys(row.missing)))}")
    for what, names in (
        ("missing", missing),
        ("not run", [table.name_of(setting) for setting in _settings_without_runs(table)]),
    ):
        if names:
            more = f"; and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            table.notes.append(f"{what}: {'; '.join(names[:_LISTED])}{more}")


def tell_of_settings(table: Table) -> None:
    """Note which scores were measured with several settings, which of these a table shows, and how to show the others.

    Scores with different settings do not compare.
    """
    runs = [run for row in table.rows for run in row.runs]
    alike: dict[tuple[str, str, tuple[str, ...]], dict[str, None]] = {}
    for column in table.columns:
        scored = [(run, score) for run in runs if (score := run_score.found(run, column, table.at)) is not None]
        shown = dict.fromkeys(measured.settings_of(run, score) for run, score in scored)
        if len(shown) > 1:
            told = sorted(" ".join(f"{key}={value}" for key, value in settings) for settings in shown)
            table.notes.append(f"warning: {column.label} was measured with several settings: {'; '.join(told)}")
        others = dict.fromkeys(
            settings
            for run, score in scored
            for other in measured.scores(run, column, score.at)
            if (settings := measured.settings_of(run, other)) not in shown and other.value != score.value
        )
        if others:
            every = [*shown, *others]
            ours = " or ".join(" ".join(measured.words(each, every)) for each in shown)
            demanded = [f"{key}={value}" for key, value in column.settings]
            ways = tuple(":".join([*demanded, *measured.words(each, every)]) for each in others)
            alike.setdefault((measured.name_of(column.protocol), ours, ways), {})[column.protocol] = None
    for (name, ours, ways), labels in alike.items():
        chosen = name if len(labels) > 1 else next(iter(labels))
        told = [f"--protocol {shlex.quote(f'{chosen}:{way}')}" for way in ways[:_LISTED]]
        more = f" and {len(ways) - _LISTED} more" if len(ways) > _LISTED else ""
        table.notes.append(
            f"{', '.join(labels)} {'are' if len(labels) > 1 else 'is'} shown as measured with {ours}; runs were"
            f" measured with other settings as well: {', '.join(told)}{more}"
        )


def _missing_scores(table: Table, row: Row) -> list[str]:
    """Return notes on finished runs that lack a score, and on the protocols under which it was measured."""
    told = []
    for column in table.columns:
        lacking = [
            r for r in row.runs if r.record.status == "finished" and run_score.score_of(r, column, table.at) is None
        ]
        if lacking:
            others = {s.protocol for run in lacking for s in run.record.scores if s.split == column.split}
            others -= {each.protocol for each in table.columns}
            way_out = f"; it has {', '.join(sorted(others))} (--protocol)" if others else ""
            seeds = ",".join(str(run.seed) for run in lacking)
            told.append(f"no {column.label} that is a number: {table.name_of(row.setting)} seed={seeds}{way_out}")
    return told


def _averaged(row: Row, run: Run) -> str:
    """Return the run's values of the factors that its row is averaged over: ` data.fold=2`."""
    return "".join(f" {short(key)}={text(value_of(run.record, key))}" for key in row.over)


def _reason(error: str) -> str:
    """Return the reason of an error without its class and its remedy, which only the person who ran it needs."""
    _, _, reason = error.partition(": ")
    return (reason or error).split(";")[0]


def _settings_without_runs(table: Table) -> list[Setting]:
    """Return the combinations of the factors' values that have no run; empty unless most combinations have one."""
    there = {row.setting for row in table.rows}
    levels = [list(dict.fromkeys(row.setting[k] for row in table.rows)) for k in range(len(table.factors.keys))]
    if math.prod(map(len, levels)) >= 2 * len(there):
        return []
    return [setting for setting in itertools.product(*levels) if setting not in there]
