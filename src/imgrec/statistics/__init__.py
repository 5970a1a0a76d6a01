"""Compute statistics of a few runs: means, intervals, differences, corrected p values, power. Imports no torch.

Distributions come from scipy.special, which loads in a fraction of the time of scipy.stats.
"""

from imgrec.statistics.calibration import Calibration, calibration
from imgrec.statistics.images import Both, Interval, difference_over_both, interval_over_both
from imgrec.statistics.interactions import interaction, interaction_over_both
from imgrec.statistics.power import MOST_SEEDS, POWER, Comparison, Deviation, compare
from imgrec.statistics.seeds import (
    LEVEL,
    Contrast,
    Difference,
    Summary,
    contrast,
    critical,
    paired,
    summarise,
    unpaired,
)
from imgrec.statistics.several import holm

__all__ = [
    "LEVEL",
    "MOST_SEEDS",
    "POWER",
    "Both",
    "Calibration",
    "Comparison",
    "Contrast",
    "Deviation",
    "Difference",
    "Interval",
    "Summary",
    "calibration",
    "compare",
    "contrast",
    "critical",
    "difference_over_both",
    "holm",
    "interaction",
    "interaction_over_both",
    "interval_over_both",
    "paired",
    "summarise",
    "unpaired",
]
