"""Tell the scores of one name apart by the settings that they were measured with. Imports no torch."""

from collections import Counter
from collections.abc import Collection, Sequence

from imgrec.config.registry import components
from imgrec.records import Score
from imgrec.tables import factors, recorded_choices
from imgrec.tables.column import Column, Settings
from imgrec.tables.factor_words import is_value
from imgrec.tables.factors import ABSENT
from imgrec.tables.gather import Run

PLACES = ("best", "last")
_FITTED = "temperature"  # it is fitted for each run, and no setting
_PRECISION = {"precision": "32"}  # older records have none


def name_of(label: str) -> str:
    """Return the protocol of a row of scores: `gaussian_noise` for `gaussian_noise:0.1`."""
    return label.partition(":")[0]


def settings_of(run: Run, score: Score) -> Settings:
    """Return how a score was measured: the precision and the protocol's settings, with defaults where they are known.

    The setting whose values have rows of their own, and a fitted temperature, are left out.
    """
    name = name_of(score.protocol)
    left_out = {"name", _FITTED, getattr(components("protocol").get(name), "rows_from", "")}
    values = {**recorded_choices.defaults_in(run.record, f"protocol.{name}"), **_PRECISION, **score.settings}
    return tuple((key, factors.text(value)) for key, value in sorted(values.items()) if key not in left_out)


def scores(run: Run, column: Column, at: str) -> list[Score]:
    """Return the run's scores of a column at a place: those with the column's settings, the usual ones first."""
    named = (column.metric, column.split, column.protocol, at)
    found = [score for score in run.record.scores if (score.metric, score.split, score.protocol, score.at) == named]
    if column.settings:
        found = [score for score in found if fits(settings_of(run, score), column.settings)]
    if len(found) > 1 and column.usual:
        found.sort(key=lambda score: settings_of(run, score) != column.usual)  # stable: else as recorded
    return found


def usual(runs: Sequence[Run], column: Column) -> Settings:
    """Return the settings that most runs were measured with, where a run has the column's score with several.

    Of several with as many runs, those that come first in the records, where a run's own final reading comes first.

    Returns:
        Nothing where no run has the score with several settings.
    """
    counts: Counter[Settings] = Counter()
    several = False
    for run in runs:
        found = [dict.fromkeys(settings_of(run, score) for score in scores(run, column, at)) for at in PLACES]
        several = several or any(len(own) > 1 for own in found)
        counts.update(list(dict.fromkeys(settings for own in found for settings in own)))
    return max(counts, key=lambda settings: counts[settings]) if several else ()


def fits(settings: Settings, wanted: Settings) -> bool:
    """Return True if the settings have the wanted values. ABSENT stands for a key that they lack."""
    own = dict(settings)
    return all(is_value(own.get(key, ABSENT), value) for key, value in wanted)


def words(settings: Settings, beside: Collection[Settings]) -> list[str]:
    """Return the settings in which others differ from these, as `KEY=VALUE`."""
    own = dict(settings)
    keys = dict.fromkeys(key for each in (settings, *beside) for key, _ in each)
    return [
        f"{key}={own.get(key, ABSENT)}"
        for key in keys
        if any(dict(other).get(key, ABSENT) != own.get(key, ABSENT) for other in beside)
    ]
