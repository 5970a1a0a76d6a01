"""A score as a column of a table: what was measured, where and how, and which way is better. Imports no torch."""

from dataclasses import dataclass

LOWER_IS_BETTER = ("loss", "ece")
NO_FRACTIONS = ("loss",)  # every other metric is a fraction in [0, 1], and shown in percent


@dataclass(frozen=True, kw_only=True)
class Column:
    """A score: what was measured, where and how."""

    metric: str
    split: str
    protocol: str

    @property
    def scale(self) -> int:
        """What a record's value is multiplied with to be shown."""
        return 1 if self.metric in NO_FRACTIONS else 100

    @property
    def sign(self) -> int:
        """1 where more is better, else -1."""
        return -1 if self.metric in LOWER_IS_BETTER else 1

    @property
    def label(self) -> str:
        under = "" if self.protocol == "clean" else f", {self.protocol}"
        return f"{self.split} {self.metric}{'' if self.scale == 1 else ' %'}{under}"
