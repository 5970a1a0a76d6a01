"""Compute a setting's score from its runs. Imports no torch."""

from collections.abc import Sequence

from imgrec import statistics
from imgrec.records import Score
from imgrec.tables import run_score
from imgrec.tables.column import Column
from imgrec.tables.correctness import Reader
from imgrec.tables.gather import Run
from imgrec.tables.table import Cell


def cell_of(runs: Sequence[Run], column: Column, at: str, reader: Reader) -> Cell:
    """Return the score over the runs that have it, and over new images where all of them kept predictions."""
    by_seed: dict[tuple[int, int], tuple[Run, Score]] = {}
    for run in runs:
        score = run_score.found(run, column, at)
        if score is not None:
            same = [seed for seed, _ in by_seed].count(run.seed)
            by_seed[run.seed, same] = run, score
    if not by_seed:
        return Cell(values={}, summary=None)
    values = {key: score.exact * column.scale for key, (_, score) in by_seed.items()}
    answers = reader.answers(by_seed, column)
    over_both = statistics.interval_over_both(answers.matrix) if answers else None
    if over_both is None and len(by_seed) == 1:
        ((_, score),) = by_seed.values()
        over_both = statistics.Interval(low=score.ci[0], high=score.ci[1]) if score.ci else None
    summary = statistics.summarise(list(values.values()), within=column.within)
    lacking = reader.lacking(by_seed, column)
    places = frozenset(score.at for _, score in by_seed.values())
    return Cell(values=values, summary=summary, answers=answers, over_both=over_both, lacking=lacking, places=places)
