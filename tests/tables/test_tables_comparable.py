"""Test which scores are not compared, as they measure different things, and which runs are kept or found twice."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import Shown, lay, lay_sweep, of_csv, of_markdown, run, score
from runs import one_line

Said = tuple[int, str, str]
Table = Callable[..., Shown]


def test_losses_of_different_criteria_are_not_compared(table: Table, runs: Path) -> None:
    both = {"top1": 0.5, "loss": 1.0}
    lay_sweep(runs, {"loss=mse": [both, both, both], "loss=hinge": [{"top1": 0.6, "loss": 9.0}] * 3})
    shown = table("--scores", "top1,loss", "--baseline", "loss=mse")
    assert shown.row("hinge")["Δ test top1 %"] == "+10.00"
    assert shown.row("hinge")["Δ test loss"] == "–"
    assert not any("**" in row["test loss"] for row in shown.rows)
    assert shown.note("test loss: no best is marked, as the rows are of different losses")


def test_the_calibration_of_outputs_that_are_no_probabilities_is_not_compared_with_that_of_others(
    table: Table, runs: Path
) -> None:
    """A network that mse trained perfectly has logits of 0 and 1: a confidence of 0.23 in each of ten classes."""
    both = {"top1": 0.5, "ece": 0.2}
    lay_sweep(runs, {"loss=mse": [{"top1": 0.9, "ece": 0.01}] * 3, "loss=brier": [both] * 3, "loss=focal": [both] * 3})
    shown = table("--scores", "top1,ece", "--baseline", "loss=brier")
    assert shown.row("mse")["Δ test ece %"] == "–"
    assert shown.row("focal")["Δ test ece %"] != "–"
    assert not any("**" in row["test ece %"] for row in shown.rows)
    assert shown.note(
        "test ece %: no best is marked, as the rows are of different losses, or of hinge or mse, whose outputs"
    )
    lay_sweep(runs / "mse", {f"loss=mse optimizer={name}": [{"ece": 0.1}] * 3 for name in ("sgd", "adam")})
    alone = table("--scores", "ece", "--where", "loss=mse", "--where", "optimizer=sgd,adam")
    assert not any("**" in row["test ece %"] for row in alone.rows)
    without = table("--scores", "ece", "--where", "loss!=mse")
    assert not any("are no logits of probabilities" in note for note in without.notes)


def test_scores_on_different_data_are_a_factor_and_not_compared(table: Table, runs: Path) -> None:
    for seed in range(3):
        lay(runs, run(f"experiment=demo seed={seed}", score("top1", 0.9 + seed / 100)))
        lay(runs, run(f"experiment=article seed={seed}", score("top1", 0.5 + seed / 90)))
    shown = table("--baseline", "experiment=article")
    assert shown.header[:2] == ["experiment", "data"]
    assert shown.row("demo", "digits")["p"] == "–"
    assert shown.note("test top1 %: no best is marked, as the rows are of different data")
    assert shown.note("no run of experiment=article data=digits, the baseline of experiment=demo data=digits")


def test_a_score_under_another_protocol_is_pointed_to(table: Table, runs: Path) -> None:
    lay(runs, run("optimizer=sgd seed=0", score("top1", 0.5)))
    lay(runs, run("optimizer=adam seed=0", score("top1", 0.6, protocol="tta_flip")))
    note = "no test top1 % that is a number: optimizer=adam seed=0; it has tta_flip (--protocol)"
    assert note in table().notes


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (("--where", "optimizer=sgd,adam"), ["adam", "sgd"]),
        (("--where", "optimizer!=sgd"), ["adam", "adamw"]),
        (("--where", "optimizer!=sgd,adamw"), ["adam"]),
        (("--where", "optimizer!=sgd", "--where", "optimizer!=adam"), ["adamw"]),
    ],
)
def test_where_takes_several_values_and_their_opposite(
    table: Table, runs: Path, words: tuple[str, ...], kept: list[str]
) -> None:
    lay_sweep(runs, {f"optimizer={name}": [0.5, 0.6] for name in ("sgd", "adam", "adamw")})
    shown = table(*words)
    assert [row.get("optimizer", kept[0]) for row in shown.rows] == kept
    assert shown.note("kept: ") == f"kept: {' '.join(words[1::2])}"


def test_a_list_is_one_value_whatever_commas_it_has(table: Table, runs: Path) -> None:
    lay_sweep(runs, {f"model.widths={widths}": [0.5] for widths in ("[8,16]", "[16,32]", "[32,64]")})
    shown = table("--where", "model.widths=[8,16],[32,64]")
    assert [row["model.widths"] for row in shown.rows] == ["[32,64]", "[8,16]"]


@pytest.mark.parametrize(
    ("name", "begin"), [("a.tex", "% needs"), ("a.csv", "finished,"), ("a.md", "test top1 %: "), ("a", "test top1 %: ")]
)
def test_the_format_is_what_the_file_s_name_says(
    command: Callable[..., Said], runs: Path, name: str, begin: str
) -> None:
    lay_sweep(runs, {"optimizer=sgd": [0.5, 0.6]})
    code, out, _ = command("table", str(runs), "-o", name)
    assert (code, out) == (0, f"{name}\n")
    assert Path(name).read_text("utf-8").startswith(begin)


def test_a_name_that_contradicts_the_format_is_refused(command: Callable[..., Said], runs: Path) -> None:
    lay_sweep(runs, {"optimizer=sgd": [0.5, 0.6]})
    code, _, err = command("table", str(runs), "-o", "a.tex", "--format", "csv")
    assert code == 2
    assert "must agree with --format csv, and says latex" in one_line(err)
    assert not Path("a.tex").exists()


def test_a_dash_is_stdout(command: Callable[..., Said], runs: Path) -> None:
    lay_sweep(runs, {"optimizer=sgd": [0.5, 0.6]})
    code, out, _ = command("table", str(runs), "-o", "-", "--format", "csv")
    assert code == 0
    assert of_csv(out)[0]["test top1 % mean"] == "55.00"
    assert not Path("-").exists()


def test_what_a_sweep_leaves_beside_its_runs_is_passed_over(command: Callable[..., Said], runs: Path) -> None:
    lay_sweep(runs, {"optimizer=sgd": [0.5, 0.6]})
    for name in ("multirun.yaml", "sweep.lock", "tuning.json", "optuna.db"):
        (runs / name).write_text("[]" if name == "tuning.json" else "")
    code, out, err = command("table", *map(str, sorted(runs.iterdir())))
    assert (code, err) == (0, "")
    assert of_markdown(out).rows[0]["n"] == "2"


def test_of_copies_the_one_in_the_folder_named_first_counts(command: Callable[..., Said], workplace: Path) -> None:
    for place, seconds in (("second", 9.0), ("first", 5.0)):
        lay(Path(place), run("optimizer=sgd seed=0", score("top1", 0.5), cost={"seconds": seconds}))
    for places, seconds_shown in ((("first", "second"), "5"), (("second", "first"), "9")):
        out = command("table", *places)[1]
        assert of_markdown(out).rows[0]["seconds"] == seconds_shown


def test_seeds_are_missing_only_beside_runs_of_the_same_sweep(command: Callable[..., Said], workplace: Path) -> None:
    lay_sweep(Path("five"), {"optimizer=sgd": [0.5] * 5})
    lay_sweep(Path("two"), {"optimizer=adam": [0.6, 0.7], "optimizer=adamw": [0.6]})
    shown = of_markdown(command("table", "five", "two")[1])
    assert [note for note in shown.notes if note.startswith("missing")] == ["missing: optimizer=adamw seed=1"]
