"""Test chosen factors as rows and columns, and factors that vary besides."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import Outcome, Shown, lay_sweep, of_csv

Said = tuple[int, str, str]
Table = Callable[..., Shown]
GRID: dict[str, list[Outcome]] = {
    "loss=mse optimizer=sgd": [0.10, 0.12],
    "loss=mse optimizer=adam": [0.20, 0.22],
    "loss=hinge optimizer=sgd": [0.30, "failed"],
    "loss=hinge optimizer=adam": ["interrupted", "failed"],
    "loss=brier optimizer=sgd": [0.50, 0.52],
}


@pytest.fixture
def runs(runs: Path) -> Path:
    """Two factors and their runs, of which some have failed and some were never begun."""
    lay_sweep(runs, GRID)
    return runs


def test_one_factor_goes_down_and_one_across(table: Table, runs: Path) -> None:
    shown = table("--rows", "loss", "--columns", "optimizer")
    assert set(shown.header) == {"loss", "optimizer=sgd", "optimizer=adam"}
    assert {row["loss"]: (row["optimizer=sgd"], row["optimizer=adam"]) for row in shown.rows} == {
        "brier": ("51.00 ± 1.41", "–"),
        "hinge": ("30.00 (1/2 runs)", "0/2 (1 interrupted, 1 failed)"),
        "mse": ("11.00 ± 1.41", "21.00 ± 1.41"),
    }
    assert shown.notes[0] == "test top1 %; n = 2."
    assert "failed: loss=hinge optimizer=sgd seed=1" in shown.notes
    assert "not run: loss=brier optimizer=adam" in shown.notes


def test_the_other_way_round_it_is_the_same_table_turned(table: Table, runs: Path) -> None:
    down = table("--rows", "loss", "--columns", "optimizer")
    across = table("--rows", "optimizer", "--columns", "loss")
    for row in across.rows:
        for loss in ("mse", "hinge", "brier"):
            assert row[f"loss={loss}"] == down.row(loss)[f"optimizer={row['optimizer']}"]


def test_numbers_are_in_order_across_and_down_also_where_the_first_row_lacks_some(table: Table, runs: Path) -> None:
    rates = {"cross_entropy": (10,), "focal": (10, 0.5, 2)}
    words = [f"loss={loss} optimizer=rmsprop optimizer.lr={lr}" for loss, lrs in rates.items() for lr in lrs]
    lay_sweep(runs / "rates", {setting: [0.5] for setting in words})
    ordered = ["0.5", "2", "10"]
    shown = table("--where", "optimizer=rmsprop", "--rows", "optimizer.lr", "--columns", "loss")
    assert [row["optimizer.lr"] for row in shown.rows] == ordered
    shown = table("--where", "optimizer=rmsprop", "--rows", "loss", "--columns", "optimizer.lr")
    assert shown.header == ["loss", *(f"optimizer.lr={lr}" for lr in ordered)]


def test_a_best_stands_out_in_a_pivot(table: Table, runs: Path) -> None:
    lay_sweep(runs / "more", {"loss=focal optimizer=sgd": [0.9, 0.91], "loss=focal optimizer=adam": [0.1, 0.125]})
    shown = table("--where", "loss=focal", "--rows", "loss", "--columns", "optimizer")
    assert shown.rows == [{"loss": "focal", "optimizer=adam": "11.25 ± 1.77", "optimizer=sgd": "**90.50 ± 0.71**"}]


def test_a_csv_has_a_row_a_setting_also_of_a_pivot(command: Callable[..., Said], runs: Path) -> None:
    words = ("table", str(runs), "--rows", "loss", "--format", "csv")
    code, out, _ = command(*words, "--columns", "optimizer")
    assert code == 0
    rows = {(row["loss"], row["optimizer"]): row["test top1 % mean"] for row in of_csv(out)}
    assert rows == {
        ("brier", "sgd"): "51.00",
        ("hinge", "adam"): "",
        ("hinge", "sgd"): "30.00",
        ("mse", "adam"): "21.00",
        ("mse", "sgd"): "11.00",
    }


@pytest.mark.parametrize("words", [["--rows", "loss"], ["--rows", "loss", "--columns", "schedule"]])
def test_a_factor_that_varies_beside_the_chosen_ones_is_refused(
    refusal: Callable[..., str], table: Table, runs: Path, words: list[str]
) -> None:
    said = refusal(*words)
    assert said.startswith("optimizer must be a factor of the table, as it varies (adam, sgd) beside loss")
    assert said.endswith("name it as well, or fix it with --where optimizer=adam")
    assert table(*words, "--where", "optimizer=sgd").rows


def test_what_follows_from_a_chosen_factor_needs_no_fixing(table: Table, runs: Path) -> None:
    """A learning rate that the optimizer determines is no third factor."""
    lay_sweep(runs / "more", {f"loss=focal optimizer={name}": [0.5] for name in ("momentum", "adamw")})
    shown = table("--where", "loss=focal", "--rows", "optimizer")
    assert [row["optimizer"] for row in shown.rows] == ["adamw", "momentum"]


@pytest.mark.parametrize("words", [["--rows", "loss,optimizer"], ["--rows", "optimizer,loss"]])
def test_rows_give_the_order_of_the_factors(table: Table, runs: Path, words: list[str]) -> None:
    shown = table(*words)
    assert shown.header[:2] == words[1].split(",")
    assert len(shown.rows) == len(GRID)


def test_without_rows_the_other_factors_go_down(table: Table, runs: Path) -> None:
    assert table("--columns", "optimizer") == table("--rows", "loss", "--columns", "optimizer")


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("nope", "the runs differ in loss, optimizer"),
        ("seed", "the runs differ in loss, optimizer"),
        ("study", "the runs differ in loss, optimizer"),
        ("data.roots", "did you mean data.root?"),
        ("optimizer.beta9", "did you mean optimizer.beta2?"),
        ("optimiser", "did you mean optimizer?"),
    ],
)
def test_what_is_no_key_of_an_experiment_is_refused(
    refusal: Callable[..., str], runs: Path, key: str, hint: str
) -> None:
    assert refusal("--rows", key) == f"{key} must be a factor of the runs, and is none; {hint}"
    assert refusal("--columns", key) == (
        f"--columns {key} must be a factor of the runs, and in them loss, optimizer varies"
    )


def test_a_factor_is_a_row_or_a_column(refusal: Callable[..., str], runs: Path) -> None:
    assert refusal("--rows", "loss,optimizer", "--columns", "optimizer") == (
        "optimizer must be named once, got it twice; it is a row or a column"
    )


def test_a_factor_that_is_named_twice_is_one(table: Table, runs: Path) -> None:
    assert table("--rows", "loss,optimizer,loss") == table("--rows", "loss,optimizer")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--scores", "top1,loss"), ("--published", "wilson-2017")],
)
def test_a_pivot_has_no_room_beside_its_score_and_says_so(
    refusal: Callable[..., str], runs: Path, option: str, value: str
) -> None:
    for form in ("markdown", "latex"):
        assert refusal("--rows", "loss", "--columns", "optimizer", option, value, "--format", form) == (
            f"--columns=optimizer shows one score and no published figures, got {option}={value}; leave one of them"
            " out, or give --format csv"
        )


def test_a_csv_of_a_pivot_has_the_differences(command: Callable[..., Said], runs: Path) -> None:
    words = ("--rows", "loss", "--columns", "optimizer", "--baseline", "optimizer=sgd", "--format", "csv")
    code, out, _ = command("table", str(runs), *words)
    assert code == 0
    changes = {(row["loss"], row["optimizer"]): row["test top1 % difference"] for row in of_csv(out)}
    assert {setting: change for setting, change in changes.items() if change} == {("mse", "adam"): "+10.00"}


def test_a_pivot_has_the_differences_to_the_baseline(table: Table, runs: Path) -> None:
    words = ("--rows", "loss", "--columns", "optimizer", "--baseline", "optimizer=sgd")
    long, shown = table("--baseline", "optimizer=sgd"), table(*words)
    for row in long.rows:
        cell = shown.row(row["loss"])[f"optimizer={row['optimizer']}"]
        change = row["Δ test top1 %"]
        if change in ("baseline", "–"):
            assert "Δ" not in cell
        else:
            assert f"(Δ {change.partition(' ')[0]}" in cell
            assert ("p " in cell) == (row["p"] != "–")
            assert row["p"].removeprefix("–") in cell
    assert shown.note("Δ: the difference of means to optimizer=sgd")
    assert any("Δ" in text for row in shown.rows for text in row.values())
    assert not any(
        "Δ" in text or "p" in text
        for row in table(*words, "--hide", "p,difference").rows
        for text in row.values()
        if "±" in text
    )
