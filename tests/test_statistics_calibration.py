"""Test the calibration error corrected for few images, against definitions and in simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from imgrec.statistics import calibration


def by_definition(confidence_n: np.ndarray, correct_n: np.ndarray) -> tuple[float, float, float]:
    """Bin by bin, with SciPy's folded normal distribution."""
    error = again = perfect = 0.0
    for k in range(15):
        inside = (confidence_n >= k / 15) & ((confidence_n < (k + 1) / 15) | (k == 14))
        if not inside.any():
            continue
        n, sure, right = inside.sum(), confidence_n[inside].mean(), correct_n[inside].mean()
        weight, gap = n / len(confidence_n), abs(sure - right)
        error += weight * gap
        std = math.sqrt(right * (1 - right) / n)
        again += weight * (stats.foldnorm.mean(gap / std, scale=std) if std else gap)
        own = math.sqrt((confidence_n[inside] * (1 - confidence_n[inside])).sum()) / n
        perfect += weight * own * math.sqrt(2 / math.pi)
    return error, max(0.0, 2 * error - again), perfect


@pytest.mark.parametrize("images", [1, 7, 300])
def test_the_error_and_what_it_is_made_of_follow_from_their_definitions(images: int) -> None:
    random = np.random.default_rng(images)
    confidence_n = random.beta(5, 1, images)
    correct_n = random.random(images) < confidence_n**2
    found = calibration(confidence_n, correct_n)
    assert (found.error, found.debiased, found.perfect) == pytest.approx(by_definition(confidence_n, correct_n))


def test_a_confidence_of_one_lies_in_the_last_bin() -> None:
    found = calibration(np.ones(10, np.float16), np.arange(10) < 8)
    assert (found.error, found.perfect) == (pytest.approx(0.2), 0.0)


def test_no_images_have_no_error() -> None:
    with pytest.raises(ValueError, match="confidence_n must not be empty"):
        calibration(np.zeros(0), np.zeros(0, bool))


def simulated(power: float, images: int, repetitions: int = 500) -> tuple[np.ndarray, float]:
    """Mean error, debiased, and perfect, of networks that are right with their confidence to that power; the truth."""
    random = np.random.default_rng(0)

    def confidences(count: int) -> np.ndarray:
        return np.maximum(0.1, random.beta(6, 1.2, count))

    many = confidences(1_000_000)
    bins = np.minimum((many * 15).astype(int), 14)
    truth = float(np.abs(np.bincount(bins, many - many**power)).sum() / len(many))
    rows = []
    for _ in range(repetitions):
        sure = confidences(images)
        found = calibration(sure, random.random(images) < sure**power)
        rows.append([found.error, found.debiased, found.perfect])
    return np.mean(rows, axis=0), truth


@pytest.mark.parametrize("images", [360, 1000])
def test_perfect_calibration_shows_what_is_said_of_it(images: int) -> None:
    (error, debiased, perfect), truth = simulated(1.0, images)
    assert truth == pytest.approx(0.0)
    assert perfect == pytest.approx(error, abs=2e-3)
    assert error > 0.02, "or there is nothing to be told"
    assert debiased < 0.65 * error


@pytest.mark.parametrize("power", [1.5, 2.0])
def test_of_confidences_that_are_wrong_the_debiased_error_is_nearer_to_the_truth(power: float) -> None:
    (error, debiased, _), truth = simulated(power, 360)
    assert abs(debiased - truth) < abs(error - truth)
    assert debiased == pytest.approx(truth, abs=4e-3)
