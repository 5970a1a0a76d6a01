"""A score as a column of a table: what was measured, where and how, and which way is better. Imports no torch."""

import math
from dataclasses import dataclass

NO_FRACTIONS = ("loss", "nll", "nll_calibrated")  # every other metric is a fraction in [0, 1], and shown in percent


@dataclass(frozen=True, kw_only=True)
class Column:
    """A score: what was measured, where and how. named: what a file of names calls it."""

    metric: str
    split: str
    protocol: str
    named: str | None = None

    @property
    def scale(self) -> int:
        """What a record's value is multiplied with to be shown."""
        return 1 if self.metric in NO_FRACTIONS else 100

    @property
    def sign(self) -> int:
        """1 where more is better, else -1."""
        return -1 if self.scale == 1 or self.is_calibration else 1

    @property
    def within(self) -> tuple[float, float]:
        """The range that a mean lies in, as it is shown."""
        return (-math.inf, math.inf) if self.scale == 1 else (0.0, float(self.scale))

    @property
    def change_within(self) -> tuple[float, float]:
        """The range that a difference of two means lies in, as it is shown."""
        return (-math.inf, math.inf) if self.scale == 1 else (-float(self.scale), float(self.scale))

    @property
    def is_calibration(self) -> bool:
        """Whether it measures how far confidences are right."""
        return self.metric.startswith("ece")

    @property
    def is_reference(self) -> bool:
        """Whether it is what perfect calibration would show: a value to read others by, none of a setting's own."""
        return self.metric.endswith("_perfect")

    @property
    def unit(self) -> str:
        """Of a difference, in words."""
        return "" if self.scale == 1 else " points"

    @property
    def label(self) -> str:
        if self.named:
            return self.named
        under = "" if self.protocol == "clean" else f", {self.protocol}"
        return f"{self.split} {self.metric}{'' if self.scale == 1 else ' %'}{under}"
