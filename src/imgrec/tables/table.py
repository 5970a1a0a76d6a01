"""Define the parts of a table: a row for each setting, a cell for each score over its seeds. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from imgrec import codechange
from imgrec.statistics import Both, Contrast, Interval, Summary
from imgrec.tables.column import Column
from imgrec.tables.correctness import Answers
from imgrec.tables.factors import Factors, Setting
from imgrec.tables.gather import Run
from imgrec.tables.names import Names
from imgrec.tables.published import Figure
from imgrec.tables.sensitivity import Sensitivity

Values = dict[tuple[int, int], float]
"""A setting's values. The key pairs runs: the seed, and the run's number among those of that seed (usually 0)."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A condition on runs: they have one of the values, or, if negated, none of them."""

    key: str
    values: tuple[str, ...]
    is_negated: bool = False

    @property
    def words(self) -> str:
        """The condition as the command line takes it."""
        return f"{self.key}{'!=' if self.is_negated else '='}{','.join(self.values)}"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a table shows.

    Attributes:
        scores: Metrics, one column each.
        split: test or val; None for test where a run opened it, else val.
        at: best or last; a run without best is shown at last.
        protocols: Words for protocols (`column_words.listed`); none for clean, else for the first that was measured.
        baseline: Keys and values that name the settings to compare with.
        where: Conditions that the runs must all meet.
        rows: Factors to use instead of those that were varied.
        columns: A factor whose values become columns (a pivot).
        names: Names for print.
        sort: A score (best first) or a factor that orders the rows; None for all factors.
        average: Factors whose values are averaged over, seed by seed.
        contrasts: Contrasts to compute of each score, as the option takes them.
    """

    scores: tuple[str, ...] = ("top1",)
    split: str | None = None
    at: str = "best"
    protocols: tuple[str, ...] = ()
    baseline: Mapping[str, str] = field(default_factory=dict)
    where: tuple[Condition, ...] = ()
    rows: tuple[str, ...] = ()
    columns: str | None = None
    names: Names = field(default_factory=Names)
    sort: str | None = None
    average: tuple[str, ...] = ()
    contrasts: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Cell:
    """A setting's score over its seeds.

    Attributes:
        values: The scores, on the images that were measured.
        summary: Their mean, standard deviation and interval.
        answers: Which images the runs classify correctly; None where it is not known.
        over_both: The interval over new seeds and new images, as shares; for n = 1, of that run on new images.
        lacking: How many of its runs lack predictions that their records name.
        places: Where the runs' scores were measured: best, last or both.
        difference: The contrast with the baseline over seeds.
        difference_over_both: The contrast with the baseline over seeds and new images.
        p: Of `difference`, Holm-corrected over the column.
        p_over_both: Of `difference_over_both`, Holm-corrected over the column.
        best: True if it is marked as the best of its column.
    """

    values: Values
    summary: Summary | None
    answers: Answers | None = None
    over_both: Interval | None = None
    lacking: int = 0
    places: frozenset[str] = frozenset()
    difference: Contrast | None = None
    difference_over_both: Both | None = None
    p: float | None = None
    p_over_both: float | None = None
    best: bool = False


@dataclass(kw_only=True)
class Row:
    """A setting: its runs of every status, and one cell for each column.

    Attributes:
        setting: The factors' values.
        cells: One for each column.
        missing: Seeds without a run.
        is_baseline: True if it is a baseline.
        published: Published figures for the setting.
        levels: How many runs each value is the mean of, where factors are averaged over.
        over: The factors that are averaged over.
    """

    setting: Setting
    runs: list[Run]
    cells: list[Cell]
    missing: list[int] = field(default_factory=list)
    is_baseline: bool = False
    published: list[Figure] = field(default_factory=list)
    levels: int = 1
    over: tuple[str, ...] = ()

    def cost(self, name: str) -> float | None:
        """Return the mean of a cost over the finished runs; None where no record has it."""
        known = [run.record.cost.get(name) for run in self.runs if run.record.status == "finished"]
        numbers = [float(value) for value in known if isinstance(value, (int, float))]
        return sum(numbers) / len(numbers) if numbers else None

    @cached_property
    def different_code(self) -> list[str]:
        """The outside components, as `axis=name`, of which these runs had different code."""
        return [name.replace(".", "=", 1) for name in codechange.between_outside(run.record for run in self.runs)]

    @property
    def asked(self) -> int:
        """How many runs the setting should have."""
        return len(self.runs) + len(self.missing)

    def scored(self, cell: Cell) -> int:
        """Return how many runs a cell's values come from."""
        return len(cell.values) * self.levels

    def count(self, status: str) -> int:
        return sum(run.record.status == status for run in self.runs)


@dataclass(kw_only=True)
class Table:
    """A table.

    Attributes:
        columns: The scores.
        rows: The settings.
        at: best or last.
        baseline: Keys and values of the baseline.
        pivot: The factor whose values become columns.
        notes: What a reader must know to use the numbers.
        warnings: Why the runs may not be comparable.
        verdict: The answer in a sentence or two.
        problems: Predictions that could not be read.
        tunings: What the runs' sweeps tuned.
        names: Names for print.
        provenance: The note that says what the runs were made with.
    """

    factors: Factors
    columns: list[Column]
    rows: list[Row]
    at: str
    baseline: Mapping[str, str]
    pivot: str | None
    notes: list[str]
    warnings: list[str]
    verdict: str = ""
    problems: list[str] = field(default_factory=list)
    tunings: list[Sensitivity] = field(default_factory=list)
    names: Names = field(default_factory=Names)
    provenance: str = ""

    def name_of(self, setting: Setting, *, beside: Setting | None = None) -> str:
        """Return the setting in words, by its names, or else as the command line takes it.

        Args:
            setting: The setting.
            beside: Another setting; only the values that differ from it are then named.
        """
        words = [
            self.names.words(key, value)
            for place, (key, value) in enumerate(zip(self.factors.keys, setting, strict=True))
            if beside is None or beside[place] != value
        ]
        return (", " if self.names else " ").join(words) or "the runs"
