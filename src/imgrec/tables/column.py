"""Define a score as a column of a table: what was measured, where, how, and which direction is better.

Imports no torch.
"""

import math
from dataclasses import dataclass

Settings = tuple[tuple[str, str], ...]
"""Keys and values as texts, sorted by key."""

NO_FRACTIONS = ("loss", "nll", "nll_calibrated")  # all other metrics are fractions in [0, 1], shown in percent


@dataclass(frozen=True, kw_only=True)
class Column:
    """A score: what was measured, where and how.

    Attributes:
        named: The score's name from a file of names.
        settings: The settings that it must have been measured with; empty for any.
        usual: The settings that count where a run has the score with several.
    """

    metric: str
    split: str
    protocol: str
    named: str | None = None
    settings: Settings = ()
    usual: Settings = ()

    @property
    def scale(self) -> int:
        """The factor from a record's value to the value that is shown."""
        return 1 if self.metric in NO_FRACTIONS else 100

    @property
    def sign(self) -> int:
        """1 where a larger value is better, else -1."""
        return -1 if self.scale == 1 or self.is_calibration else 1

    @property
    def within(self) -> tuple[float, float]:
        """The range of a mean, in the unit that is shown."""
        return (-math.inf, math.inf) if self.scale == 1 else (0.0, float(self.scale))

    @property
    def change_within(self) -> tuple[float, float]:
        """The range of a difference of two means, in the unit that is shown."""
        return (-math.inf, math.inf) if self.scale == 1 else (-float(self.scale), float(self.scale))

    @property
    def is_calibration(self) -> bool:
        """True if it measures how well confidences match accuracy."""
        return self.metric.startswith("ece")

    @property
    def is_reference(self) -> bool:
        """True if it is the value that perfect calibration would show: a reference value, not a setting's own score."""
        return self.metric.endswith("_perfect")

    @property
    def unit(self) -> str:
        """The unit of a difference, in words."""
        return "" if self.scale == 1 else " points"

    @property
    def measured(self) -> str:
        """The protocol, with the settings that were asked for: `gaussian_noise:0.1 seed=1`."""
        return " ".join([self.protocol, *(f"{key}={value}" for key, value in self.settings)])

    @property
    def label(self) -> str:
        if self.named:
            return self.named
        under = "" if self.measured == "clean" else f", {self.measured}"
        return f"{self.split} {self.metric}{'' if self.scale == 1 else ' %'}{under}"
