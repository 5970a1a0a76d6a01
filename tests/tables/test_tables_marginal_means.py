"""Test `imgrec table --average`: means over a factor's values, by seed, against means computed by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_runs import Shown, lay_sweep
from scipy import stats

SCORES = {
    ("sgd", "mse"): [0.50, 0.52, 0.55],
    ("sgd", "hinge"): [0.60, 0.58, 0.63],
    ("adam", "mse"): [0.70, 0.74, 0.73],
    ("adam", "hinge"): [0.80, 0.79, 0.86],
}


def lay(runs: Path, **others: list[float | str]) -> None:
    rows: dict[str, list[float | str]] = {f"optimizer={o} loss={loss}": [*row] for (o, loss), row in SCORES.items()}
    lay_sweep(runs, rows | {words.replace("_", " ").replace("-", "="): row for words, row in others.items()})


def test_a_seeds_value_is_its_mean_over_the_values(table: Callable[..., Shown], runs: Path) -> None:
    lay(runs)
    shown = table("--average", "seed,loss", "--baseline", "optimizer=sgd", "--digits", "6")
    assert shown.header[0] == "optimizer"
    means = {o: 100 * np.mean([SCORES[o, "mse"], SCORES[o, "hinge"]], axis=0) for o in ("sgd", "adam")}
    for optimizer, values in means.items():
        row = shown.row(optimizer)
        assert row["n"] == "3"
        assert row["test top1 %"].strip("*") == f"{values.mean():.6f} ± {values.std(ddof=1):.6f}"
    gap = means["adam"] - means["sgd"]
    low, high = stats.t.interval(0.95, 2, gap.mean(), stats.sem(gap))
    assert shown.row("adam")["Δ test top1 %"] == f"+{gap.mean():.6f} [{low:+.6f}, {high:+.6f}]"
    assert float(shown.row("adam")["p"].strip("< ")) == pytest.approx(
        stats.ttest_rel(means["adam"], means["sgd"]).pvalue, abs=6e-4
    )
    note = shown.note("Averaged over loss (hinge, mse): ")
    assert "its mean over these 2 settings" in note


def test_a_seed_that_lacks_a_value_is_left_out_and_told(table: Callable[..., Shown], runs: Path) -> None:
    rows: dict[str, list[float | str | None]] = {f"optimizer={o} loss={x}": [*row] for (o, x), row in SCORES.items()}
    rows["optimizer=sgd loss=mse"][1] = "failed"
    lay_sweep(runs, rows)
    shown = table("--average", "loss")
    assert shown.row("sgd")["n"] == "2"
    assert shown.row("sgd")["test top1 %"].startswith("57.00 ±")
    assert shown.row("sgd")["runs"] == "5/6 (1 failed)"
    assert shown.note("test top1 %: seed 1 of optimizer=sgd is left out")


def test_averages_stand_beside_other_factors(table: Callable[..., Shown], runs: Path) -> None:
    lay(runs)
    assert table("--average", "loss", "--rows", "optimizer").header == table("--average", "loss").header
    assert table("--average", "optimizer", "--columns", "loss").header == ["loss=hinge", "loss=mse"]
    assert len(table("--average", "loss,optimizer").rows) == 1


def test_what_cannot_be_averaged_is_refused(refusal: Callable[..., str], runs: Path) -> None:
    lay(runs)
    assert refusal("--average", "augment") == (
        "--average augment must be a factor of the runs, and in them loss, optimizer varies"
    )
    lay_sweep(runs, {"optimizer=muon loss=mse": [0.5]})
    assert refusal("--average", "loss") == (
        "--average loss needs runs of every setting with each value, and optimizer=muon has none with loss=hinge;"
        " leave some out with --where"
    )


def test_scores_that_do_not_measure_the_same_are_not_averaged(
    refusal: Callable[..., str], table: Callable[..., Shown], runs: Path
) -> None:
    lay_sweep(runs, {f"loss={loss}": [{"top1": 0.5, "loss": 0.1}] for loss in ("mse", "cross_entropy")})
    assert refusal("--average", "loss", "--scores", "loss").startswith(
        "--average loss must be over scores that measure the same, and test loss does not"
    )
    assert table("--average", "loss").rows[0]["test top1 %"] == "50.00"
