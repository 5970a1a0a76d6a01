"""Format a cell's numbers, for people and for machines in the same way. Imports no torch."""

from dataclasses import dataclass

from imgrec.tables.column import Column
from imgrec.tables.factors import ABSENT
from imgrec.tables.table import Cell


@dataclass(frozen=True)
class Numbers:
    """The texts of a cell's numbers; empty where there is no number.

    Names with `both` are over new seeds and new images.

    Attributes:
        exact_p: P with three significant digits, however small.
        exact_p_both: The same over new images.
        test: Paired or Welch.
        p_paired: P of the paired test, not corrected.
        p_unpaired: P of Welch's test, not corrected.
    """

    mean: str = ""
    std: str = ""
    n: str = ""
    low: str = ""
    high: str = ""
    difference: str = ""
    difference_low: str = ""
    difference_high: str = ""
    pairs: str = ""
    p: str = ""
    exact_p: str = ""
    both_low: str = ""
    both_high: str = ""
    difference_both_low: str = ""
    difference_both_high: str = ""
    p_both: str = ""
    exact_p_both: str = ""
    test: str = ""
    correlation: str = ""
    p_paired: str = ""
    p_unpaired: str = ""

    @property
    def spread(self) -> str:
        """Mean and standard deviation, or the mean alone."""
        return f"{self.mean} ± {self.std}" if self.std else self.mean or ABSENT

    @property
    def interval(self) -> str:
        return f"[{self.low}, {self.high}]" if self.low else ABSENT

    @property
    def change(self) -> str:
        """The difference to the baseline, with its interval."""
        interval = f" [{self.difference_low}, {self.difference_high}]" if self.difference_low else ""
        return f"{self.difference}{interval}" or ABSENT

    @property
    def interval_over_both(self) -> str:
        return f"[{self.both_low}, {self.both_high}]" if self.both_low else ABSENT

    @property
    def change_over_both(self) -> str:
        return f"[{self.difference_both_low}, {self.difference_both_high}]" if self.difference_both_low else ABSENT


def numbers(cell: Cell, column: Column, digits: int | None = None) -> Numbers:
    """Format a cell's numbers. No other function does so."""
    places = digits if digits is not None else 4 if column.scale == 1 else 2

    def plain(value: float | None) -> str:
        return "" if value is None else f"{value:.{places}f}"

    def signed(value: float | None) -> str:
        return "" if value is None else f"{value:+.{places}f}"

    def small(value: float | None) -> str:
        return "" if value is None else f"{value:.3g}"

    def scaled(share: float | None) -> float | None:
        return None if share is None else share * column.scale

    summary, contrast = cell.summary, cell.difference
    difference = contrast.shown if contrast else None
    over_both, change = cell.over_both, cell.difference_over_both
    return Numbers(
        mean=plain(summary.mean) if summary else "",
        std=plain(summary.std) if summary else "",
        n=str(len(cell.values)),
        low=plain(summary.low) if summary else "",
        high=plain(summary.high) if summary else "",
        difference=signed(difference.mean) if difference else "",
        difference_low=signed(difference.low) if difference else "",
        difference_high=signed(difference.high) if difference else "",
        pairs=str(contrast.paired.n if contrast.paired else 0) if contrast else "",
        p=_probability(cell.p),
        exact_p=small(cell.p),
        both_low=plain(scaled(over_both.low)) if over_both else "",
        both_high=plain(scaled(over_both.high)) if over_both else "",
        difference_both_low=signed(scaled(change.low)) if change else "",
        difference_both_high=signed(scaled(change.high)) if change else "",
        p_both=_probability(cell.p_over_both),
        exact_p_both=small(cell.p_over_both),
        test=("paired" if contrast.is_paired else "Welch") if contrast else "",
        correlation="" if contrast is None or contrast.correlation is None else f"{contrast.correlation:.2f}",
        p_paired=small(contrast.paired.p) if contrast and contrast.paired else "",
        p_unpaired=small(contrast.unpaired.p) if contrast else "",
    )


def _probability(p: float | None) -> str:
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
