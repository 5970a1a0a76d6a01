"""Test that scores of the best epoch and of the last one are told apart, column by column."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from fake_runs import Shown, lay, run, score

from imgrec.records import Score

Table = Callable[..., Shown]
BEST = "the epoch with the best validation top1"


def noisy(value: float, at: str, seed: int) -> Score:
    return dataclasses.replace(score("top1", value, at=at, protocol="gaussian_noise:0.1"), settings={"seed": seed})


def lay_mixed(place: Path) -> None:
    """Both are measured at best under noise of seed 0; under seed 2, adam is measured at best and sgd at last alone."""
    for name, at, top1 in (("adam", "best", 0.81), ("sgd", "last", 0.61)):
        for seed in range(3):
            scores = [score("top1", 0.9 + seed / 100, at="best"), noisy(0.8 + seed / 100, "best", 0)]
            lay(place, run(f"optimizer={name} seed={seed}", *scores, noisy(top1 + seed / 100, at, 2)))


def test_settings_of_different_epochs_are_named_and_neither_compared_nor_marked(table: Table, runs: Path) -> None:
    lay_mixed(runs)
    label = "test top1 %, gaussian_noise:0.1 seed=2"
    shown = table("--protocol", "clean,gaussian_noise:0.1:seed=2", "--baseline", "optimizer=adam")
    assert f"over n seeds: test top1 % at {BEST}; {label} at {BEST}, else the last. " in shown.note("Mean ± ")
    assert shown.row("sgd")[label] == "62.00 ± 1.00"
    assert not any(cell.startswith("**") for row in shown.rows for cell in row.values())
    assert (shown.row("sgd")["Δ test top1 %"], shown.row("sgd")[f"Δ {label}"]) == ("+0.00", "–")
    assert f"{label}: no best is marked, as the rows are of different epochs (the best and the last)." in shown.notes
    assert shown.note(f"{label} is from") == (
        f"{label} is from the last epoch, as it has none at the best: optimizer=sgd; the best epoch was measured with"
        " other settings: --protocol gaussian_noise:0.1:seed=0"
    )


def test_a_column_of_the_last_epoch_alone_names_the_settings_that_the_best_was_measured_with(
    table: Table, runs: Path
) -> None:
    for name, top1 in (("adam", 0.8), ("sgd", 0.6)):
        for seed in range(3):
            lay(runs, run(f"optimizer={name} seed={seed}", noisy(0.5, "best", 0), noisy(top1 + seed / 100, "last", 2)))
    shown = table("--protocol", "gaussian_noise:0.1:seed=2")
    assert shown.row("adam")["test top1 %, gaussian_noise:0.1 seed=2"].startswith("**"), "all are of one epoch"
    assert "over n seeds at the last epoch (the best was not measured so). " in shown.note("Mean ± ")
    assert "other settings: --protocol gaussian_noise:0.1:seed=0" in shown.note("test top1 %, gaussian_noise:0.1 seed=")


def test_the_seeds_without_a_best_are_named_and_at_last_shows_all_alike(table: Table, runs: Path) -> None:
    for name, top1 in (("adam", 0.8), ("sgd", 0.6)):
        for seed in range(3):
            best = [score("top1", 0.9, at="best")] if seed or name == "sgd" else []
            more = {"config": {"primary": ["top1: optimizer=adam vs optimizer=sgd"]}}
            lay(runs, run(f"optimizer={name} seed={seed}", *best, score("top1", top1 + seed / 100), **more))
    shown = table()
    assert shown.note("test top1 % is from") == (
        "test top1 % is from the last epoch, as it has none at the best: optimizer=adam seed=0; --at last shows all at"
        " the last epoch"
    )
    assert "their scores are of different epochs (the best and the last)" in shown.verdict
    shown = table("--at", "last")
    assert shown.row("adam")["test top1 %"].startswith("**")
    assert not [note for note in shown.notes if "is from the last epoch" in note]
