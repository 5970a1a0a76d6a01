"""What the study's records and predictions say of the seed: python experiments/seeds/analysis.py [FOLDER].

FOLDER: this one, or another with records/ and predictions.npz. For each length of training: the deviation of test top1
between runs, how much of it is the test set's own noise (Jordan 2023, arXiv 2304.01910), churn, and how validation and
test go together over the seeds. Needs the dev tools.
"""

import itertools
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from imgrec import predictions, records

PLACE = ("test", "clean", "last")


@dataclass(frozen=True, kw_only=True)
class Runs:
    """R finished runs that differ in their seed alone.

    Args:
        test_r: test top1 after the last epoch.
        val_r: validation top1, likewise.
        predicted_rn: the class given to each of N test images.
        right_rn: whether it is the true one.
    """

    epochs: int
    test_r: NDArray[Any]
    val_r: NDArray[Any]
    predicted_rn: NDArray[Any]
    right_rn: NDArray[Any]


def read(folder: Path) -> list[Runs]:
    """The runs with the usual validation split, by length of training, the longest first."""
    kept = predictions.read(folder / "predictions.npz")
    groups: dict[int, list[Any]] = {}
    for path in sorted((folder / "records").glob("*.json")):
        record = records.read(path)
        if record.status == "finished" and record.config.get("data.split_seed", 0) == 0:
            groups.setdefault(record.config["trainer.max_epochs"], []).append(record)
    found = []
    for epochs, own in sorted(groups.items(), reverse=True):
        answers = [kept[record.run_id][PLACE] for record in own]
        found.append(
            Runs(
                epochs=epochs,
                test_r=np.array([record.score("top1", split="test", at="last").value for record in own]),
                val_r=np.array([record.score("top1", split="val", at="last").value for record in own]),
                predicted_rn=np.stack([each.predicted_n for each in answers]),
                right_rn=np.stack([each.predicted_n == each.targets_n for each in answers]),
            )
        )
    return found


def spread(runs: Runs) -> tuple[float, float, float]:
    """The standard deviation of test top1 between runs, with its 95 % interval (chi-squared: normal values)."""
    variance, free = float(np.var(runs.test_r, ddof=1)), len(runs.test_r) - 1
    low, high = (math.sqrt(variance * free / stats.chi2.ppf(share, free)) for share in (0.975, 0.025))
    return math.sqrt(variance), low, high


def own_noise(runs: Runs) -> float:
    """The deviation that the runs would show on these N images if each image were right or wrong by itself.

    Jordan 2023: the mean variance of an image over the runs, divided by N. What the observed variance has beyond it is
    of networks that differ on all images of this kind.
    """
    return math.sqrt(float(np.var(runs.right_rn, axis=0, ddof=1).sum())) / int(runs.right_rn.shape[1])


def churn(runs: Runs) -> float:
    """The share of test images to which two runs give different classes, mean over pairs of runs."""
    pairs = itertools.combinations(runs.predicted_rn, 2)
    return float(np.mean([np.mean(one != other) for one, other in pairs]))


def together(runs: Runs) -> tuple[float, float, float]:
    """The correlation of validation and test top1 over the runs, with its 95 % interval (Fisher)."""
    found = stats.pearsonr(runs.val_r, runs.test_r)
    low, high = found.confidence_interval(0.95)
    return float(found.statistic), float(low), float(high)


def contrast(one: Runs, other: Runs) -> tuple[float, float, float, float]:
    """The study's primary contrast: the ratio of two deviations, its 95 % interval and p (F: normal values)."""
    variances = [float(np.var(runs.test_r, ddof=1)) for runs in (one, other)]
    ratio, free = variances[0] / variances[1], (len(one.test_r) - 1, len(other.test_r) - 1)
    low, high = (math.sqrt(ratio / stats.f.ppf(share, *free)) for share in (0.975, 0.025))
    p = 2 * min(stats.f.cdf(ratio, *free), stats.f.sf(ratio, *free))
    return math.sqrt(ratio), low, high, float(p)


def main(folder: Path) -> str:
    """The analysis as Markdown."""
    header = (
        "epochs",
        "n",
        "test top1 %",
        "deviation",
        "95 %",
        "of single images",
        "share",
        "churn %",
        "val and test",
        "95 %",
    )
    lines = [f"| {' | '.join(header)} |", f"|{' ---: |' * len(header)}"]
    found = [runs for runs in read(folder) if len(runs.test_r) > 3]
    for runs in found:
        deviation, low, high = spread(runs)
        noise = own_noise(runs)
        r, r_low, r_high = together(runs)
        lines.append(
            f"| {runs.epochs} | {len(runs.test_r)} | {100 * runs.test_r.mean():.2f} | {100 * deviation:.3f}"
            f" | [{100 * low:.3f}, {100 * high:.3f}] | {100 * noise:.3f} | {(noise / deviation) ** 2:.2f}"
            f" | {100 * churn(runs):.2f} | {r:.2f} | [{r_low:.2f}, {r_high:.2f}] |"
        )
    if len(found) == 2:
        ratio, low, high, p = contrast(*found)
        lines += [
            "",
            f"Primary contrast: the deviation at {found[0].epochs} epochs is {ratio:.2f} [{low:.2f}, {high:.2f}] times"
            f" that at {found[1].epochs} (p = {p:.2g}).",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent))
