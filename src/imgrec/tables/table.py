"""What a table is made of: a row a setting, a cell a score over the setting's seeds. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from imgrec.statistics import Both, Contrast, Interval, Summary
from imgrec.tables.column import Column
from imgrec.tables.correctness import Answers
from imgrec.tables.factors import Factors, Setting
from imgrec.tables.gather import Run
from imgrec.tables.names import Names
from imgrec.tables.published import Figure
from imgrec.tables.sensitivity import Sensitivity

Values = dict[tuple[int, int], float]
"""A setting's values by what pairs runs: the seed, and the run's number among those of that seed (0, as a rule)."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Which runs to keep: those that have one of the values, or, negated, those that have none."""

    key: str
    values: tuple[str, ...]
    is_negated: bool = False

    @property
    def words(self) -> str:
        """As the command has it."""
        return f"{self.key}{'!=' if self.is_negated else '='}{','.join(self.values)}"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked of the runs.

    scores: metrics, a column each. split: test or val; None: test where a run opened it. at: best, or last; best falls
    back to last where there is none. protocol: None for clean, else the first that was measured. baseline: keys and
    values that name the settings to compare with. where: all hold of the runs to keep. rows, columns: factors to use
    instead of those that were varied; columns pivots. names: what things are called. sort: a score, the best first, or
    a factor, by which the rows are in order instead of by all factors. average: factors whose values are averaged
    over, seed by seed.
    """

    scores: tuple[str, ...] = ("top1",)
    split: str | None = None
    at: str = "best"
    protocol: str | None = None
    baseline: Mapping[str, str] = field(default_factory=dict)
    where: tuple[Condition, ...] = ()
    rows: tuple[str, ...] = ()
    columns: str | None = None
    names: Names = field(default_factory=Names)
    sort: str | None = None
    average: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Cell:
    """A setting's score over its seeds, on the images that were measured, and over new images where that is known.

    over_both: the interval over new seeds and new images, as shares; for n = 1, of that run on new images.
    lacking: how many of its runs lack predictions that their records name.
    difference, difference_over_both: to the baseline; p, p_over_both: of them, Holm-corrected over the column.
    """

    values: Values
    summary: Summary | None
    answers: Answers | None = None
    over_both: Interval | None = None
    lacking: int = 0
    difference: Contrast | None = None
    difference_over_both: Both | None = None
    p: float | None = None
    p_over_both: float | None = None
    best: bool = False


@dataclass(kw_only=True)
class Row:
    """A setting: its runs of every status, a cell a column, what it costs.

    published: figures of others for it. levels: how many runs a value is the mean of, where factors are averaged over.
    """

    setting: Setting
    runs: list[Run]
    cells: list[Cell]
    missing: list[int] = field(default_factory=list)
    is_baseline: bool = False
    published: list[Figure] = field(default_factory=list)
    levels: int = 1

    def cost(self, name: str) -> float | None:
        """The mean over its finished runs; None where no record has it."""
        known = [run.record.cost.get(name) for run in self.runs if run.record.status == "finished"]
        numbers = [float(value) for value in known if isinstance(value, (int, float))]
        return sum(numbers) / len(numbers) if numbers else None

    @property
    def asked(self) -> int:
        """How many runs the setting should have."""
        return len(self.runs) + len(self.missing)

    def scored(self, cell: Cell) -> int:
        """How many runs a cell's values are made of."""
        return len(cell.values) * self.levels

    def count(self, status: str) -> int:
        return sum(run.record.status == status for run in self.runs)


@dataclass(kw_only=True)
class Table:
    """verdict: the answer in a sentence or two. notes: what a reader must know to use the numbers. warnings: what may
    make them not comparable. problems: predictions that could not be read. tunings: what the runs' sweeps tuned.
    names: what things are called. provenance: the one of the notes that says what the runs were made with.
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
        """The setting by its names, else as the command line takes it; beside another one, what it differs in."""
        words = [
            self.names.words(key, value)
            for place, (key, value) in enumerate(zip(self.factors.keys, setting, strict=True))
            if beside is None or beside[place] != value
        ]
        return (", " if self.names else " ").join(words) or "the runs"
