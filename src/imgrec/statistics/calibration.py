"""Measure how well confidences match accuracy, with estimates of the bias from few images."""

# N images, B bins of equal width

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

BINS = 15  # Guo et al. 2017

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The expected calibration error over 15 bins (Guo et al. 2017), and two related values, as shares in [0, 1].

    Attributes:
        error: The plain error, which is above 0 on any sample, even for perfectly calibrated confidences.
        debiased: The error less its bias as Kumar et al. 2019 ("Verified Uncertainty Calibration", section 5) estimate
            it, with each bin's accuracy normally distributed around the observed one; not below 0.
        perfect: The mean error that a perfectly calibrated network with the same confidences would show on as many
            images.
    """

    error: float
    debiased: float
    perfect: float


def calibration(confidence_n: NDArray[np.floating], correct_n: NDArray[np.bool_]) -> Calibration:
    """Return the calibration of predictions.

    Args:
        confidence_n: The predicted class' probability, in [0, 1].
        correct_n: True where that class is the true one.

    Raises:
        ValueError: There are no images.
    """
    if not len(confidence_n):
        raise ValueError("confidence_n must not be empty: an error needs an image at least")
    sure_n = confidence_n.astype(np.float64)
    bin_n = np.minimum((sure_n * BINS).astype(np.int64), BINS - 1)
    images_b = np.bincount(bin_n, minlength=BINS)
    filled = images_b > 0
    images_b = images_b[filled]
    weight_b = images_b / len(sure_n)
    sure_b = np.bincount(bin_n, sure_n, BINS)[filled] / images_b
    right_b = np.bincount(bin_n, correct_n, BINS)[filled] / images_b
    gap_b = np.abs(sure_b - right_b)
    error = float(weight_b @ gap_b)
    again = float(weight_b @ _mean_size(gap_b, np.sqrt(right_b * (1 - right_b) / images_b)))
    spread_b = np.sqrt(np.bincount(bin_n, sure_n * (1 - sure_n), BINS)[filled]) / images_b
    perfect = float(weight_b @ _mean_size(np.zeros_like(spread_b), spread_b))
    return Calibration(error=error, debiased=max(0.0, 2 * error - again), perfect=perfect)


def _mean_size(mean_b: Floats, std_b: Floats) -> Floats:
    """Return the mean of |x| for normal x (the folded normal distribution, Leone et al. 1961)."""
    safe_b = np.where(std_b > 0, std_b, 1.0)
    folded_b = safe_b * math.sqrt(2 / math.pi) * np.exp(-((mean_b / safe_b) ** 2) / 2) + mean_b * (
        1 - 2 * ndtr(-mean_b / safe_b)
    )
    return np.where(std_b > 0, folded_b, mean_b)
