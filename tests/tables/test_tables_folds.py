"""Test that a table averages the folds of a cross-validation seed by seed, and never pools them."""

import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import Shown, lay, run, score

Table = Callable[..., Shown]
TOPS = {"sgd": 0.5, "adam": 0.6}


def top(optimizer: str, seed: int, fold: int) -> float:
    """Folds differ by far more than seeds."""
    return TOPS[optimizer] + 0.01 * seed + 0.1 * fold


def lay_fold(runs: Path, optimizer: str, seed: int, fold: int, folds: int = 3, **more: str) -> None:
    words = f"optimizer={optimizer} seed={seed} data.folds={folds} data.fold={fold}"
    lay(runs, run(words, score("top1", top(optimizer, seed, fold), split="val"), **more))


@pytest.fixture
def crossed(runs: Path) -> Path:
    for optimizer in TOPS:
        for seed in (0, 1):
            for fold in range(3):
                lay_fold(runs, optimizer, seed, fold)
    return runs


def test_a_seed_s_value_is_its_mean_over_the_folds(crossed: Path, table: Table) -> None:
    shown = table("--baseline", "optimizer=sgd")
    assert len(shown.rows) == 2
    adam = shown.row("adam")
    values = [100 * statistics.mean(top("adam", seed, fold) for fold in range(3)) for seed in (0, 1)]
    assert adam["n"] == "2"
    assert f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}" in adam["val top1 %"]
    assert adam["Δ val top1 %"].startswith("+10.00")
    assert "3 folds, whose networks share training images" in shown.note("Cross-validation")
    assert "runs" not in shown.header


def test_a_seed_that_lacks_a_fold_is_left_out_and_told(runs: Path, table: Table) -> None:
    for seed in (0, 1):
        for fold in range(3):
            if (seed, fold) != (1, 2):
                lay_fold(runs, "adam", seed, fold)
    shown = table()
    assert shown.rows[0]["n"] == "1"
    assert shown.note("val top1 %: seed 1 of the runs is left out, without a value for data.fold=2")
    assert shown.rows[0]["runs"] == "5/6 (1 missing)"


def test_a_failed_fold_is_named(runs: Path, table: Table) -> None:
    for fold in range(3):
        lay_fold(runs, "adam", 0, fold, **({"status": "failed", "error": "E: lost"} if fold == 2 else {}))
    shown = table()
    assert shown.note("failed: the runs data.fold=2 seed=0: lost")
    assert shown.rows[0]["runs"] == "2/3 (1 failed)"


def test_no_fold_of_a_whole_setting_is_overlooked(runs: Path, table: Table) -> None:
    """Two of five folds are no cross-validation, although both settings have the same two."""
    for optimizer in TOPS:
        for fold in (0, 1):
            lay_fold(runs, optimizer, 0, fold, folds=5)
    shown = table()
    assert {row["val top1 %"] for row in shown.rows} == {"–"}
    assert shown.note("val top1 %: seed 0 of optimizer=adam is left out, without a value for data.fold=2,3,4")


def test_one_fold_alone_is_no_cross_validation_and_says_so(runs: Path, table: Table) -> None:
    for optimizer in TOPS:
        lay_fold(runs, optimizer, 0, 2)
    shown = table()
    assert shown.row("adam")["val top1 %"].startswith("80.00")
    assert shown.note("of one fold alone, data.fold=2 of data.folds=3: no cross-validation")


def test_folds_may_be_rows_or_columns(crossed: Path, table: Table) -> None:
    rows = table("--rows", "optimizer,data.fold").rows
    assert sorted((row["optimizer"], row["data.fold"], row["n"]) for row in rows) == [
        (optimizer, str(fold), "2") for optimizer in sorted(TOPS) for fold in range(3)
    ]
    assert table("--columns", "data.fold").header[-3:] == ["data.fold=0", "data.fold=1", "data.fold=2"]
    assert len(table("--rows", "optimizer").rows) == 2, "rows without the folds are means over them"
    assert len(table("--average", "data.fold").rows) == 2, "to ask for it changes nothing"


def test_folds_and_another_factor_are_averaged_over(crossed: Path, table: Table) -> None:
    shown = table("--average", "optimizer")
    values = [100 * statistics.mean(top(name, seed, fold) for name in TOPS for fold in range(3)) for seed in (0, 1)]
    assert f"{statistics.mean(values):.2f} ±" in shown.rows[0]["val top1 %"]
    assert shown.rows[0]["n"] == "2"


def test_runs_with_and_without_folds_are_rows_of_their_own(crossed: Path, table: Table) -> None:
    for seed in (0, 1):
        lay(crossed, run(f"optimizer=adam seed={seed}", score("top1", 0.9, split="val")))
    rows = {(row["optimizer"], row["data.folds"]): row for row in table("--split", "val").rows}
    assert set(rows) == {("sgd", "3"), ("adam", "3"), ("adam", "0")}
    assert rows["adam", "0"]["val top1 %"].startswith("90.00")


def test_a_declared_contrast_is_of_seeds_too(runs: Path, table: Table) -> None:
    """One fold of a seed is missing: the seed is in neither the table nor the contrast."""
    for optimizer in TOPS:
        for seed in (0, 1, 2):
            for fold in range(3):
                if (optimizer, seed, fold) != ("adam", 2, 1):
                    words = f"optimizer={optimizer} seed={seed} data.folds=3 data.fold={fold}"
                    value = top(optimizer, seed, fold) + 0.002 * seed * (optimizer == "adam")
                    at = [score("top1", value, split="val", at=place) for place in ("best", "last")]
                    primary = {"primary": ["top1 at best: optimizer=adam vs optimizer=sgd"]}
                    lay(runs, run(words, *at, config=primary))
    shown = table("--split", "val", "--baseline", "optimizer=sgd")
    assert shown.row("adam")["n"] == "2"
    assert "Primary contrast" in shown.verdict
    assert "optimizer=adam (6 of 9 runs) leads optimizer=sgd by" in shown.verdict
    assert "(2 and 3 seeds" in shown.verdict
    low, _, high = shown.row("adam")["Δ val top1 %"].partition("[")[2].rstrip("]").partition(", ")
    assert f"[{low.lstrip('+')}, {high.lstrip('+')}]" in shown.verdict, "the interval of the row"
