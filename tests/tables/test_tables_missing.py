"""Test that missing parts are shown: failed or unfinished runs, missing seeds, combinations and scores."""

import dataclasses
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import Outcome, Shown, lay, lay_sweep, of_csv, run, score

Said = tuple[int, str, str]
Table = Callable[..., Shown]


def test_runs_of_every_status_are_counted_and_named(table: Table, command: Callable[..., Said], runs: Path) -> None:
    adam: list[Outcome] = [0.5, "failed", "interrupted", None]
    lay_sweep(
        runs,
        {"optimizer=sgd": [0.5, 0.6, 0.7, 0.8], "optimizer=adam": adam},
        error="RunError: the disk is full; free some of it",
    )
    shown = table()
    assert shown.row("sgd")["runs"] == "4/4"
    assert shown.row("adam")["runs"] == "1/4 (1 failed, 1 interrupted, 1 missing)"
    assert (shown.row("adam")["n"], shown.row("adam")["test top1 %"]) == ("1", "50.00")
    assert "failed: optimizer=adam seed=1: the disk is full" in shown.notes
    assert "interrupted: optimizer=adam seed=2: the disk is full" in shown.notes
    assert "missing: optimizer=adam seed=3" in shown.notes

    code, out, err = command("table", str(runs), "--format", "csv")
    counts = ("finished", "failed", "interrupted", "running", "missing")
    assert code == 0
    assert {row["optimizer"]: [row[name] for name in counts] for row in of_csv(out)} == {
        "adam": ["1", "1", "1", "0", "1"],
        "sgd": ["4", "0", "0", "0", "0"],
    }
    assert "imgrec: failed: optimizer=adam seed=1: the disk is full\n" in err, "a CSV has no room for notes"


def test_where_nothing_has_finished_the_table_says_so(table: Table, runs: Path) -> None:
    lay_sweep(runs, {"optimizer=sgd": ["failed", "running"], "optimizer=adam": ["interrupted"]})
    shown = table()
    assert [(row["n"], row["runs"]) for row in shown.rows] == [
        ("0", "0/2 (1 interrupted, 1 missing)"),
        ("0", "0/2 (1 failed, 1 interrupted)"),
    ]
    assert {cell for row in shown.rows for cell in list(row.values())[3:]} == {"–"}


def test_a_table_of_whole_runs_has_no_column_for_what_is_missing(table: Table, runs: Path) -> None:
    lay_sweep(runs, {"optimizer=sgd": [0.5, 0.6], "optimizer=adam": [0.7, 0.8]})
    shown = table()
    assert shown.header == ["optimizer", "n", "test top1 %", "95 %"]
    assert not [note for note in shown.notes if note.startswith(("missing", "not run", "failed", "without"))]


def test_combinations_that_were_not_run_are_named(table: Table, runs: Path) -> None:
    lay_sweep(runs, {f"loss=mse optimizer={name}": [0.5] for name in ("sgd", "adam", "rmsprop")})
    lay_sweep(runs, {f"loss=hinge optimizer={name}": [0.5] for name in ("adam", "rmsprop")})
    assert table().note("not run: ") == "not run: loss=hinge optimizer=sgd"


def test_many_combinations_that_were_not_run_are_counted(table: Table, runs: Path) -> None:
    names = ["adagrad", "adam", "rmsprop", "sgd"]
    for loss, had in (("mse", names), ("focal", names), ("hinge", names[:1]), ("brier", names[:1])):
        lay_sweep(runs, {f"loss={loss} optimizer={name}": [0.5] for name in had})
    first = [f"loss={loss} optimizer={name}" for loss in ("brier", "hinge") for name in names[1:]]
    assert table().note("not run: ").removeprefix("not run: ").split("; ") == [*first[:5], "and 1 more"]


def test_settings_that_were_never_meant_to_be_a_grid_lack_no_combination(table: Table, runs: Path) -> None:
    pairs = {"mse": "sgd", "hinge": "adam", "brier": "rmsprop"}
    lay_sweep(runs, {f"loss={loss} optimizer={name}": [0.5] for loss, name in pairs.items()})
    shown = table("--rows", "loss,optimizer")
    assert len(shown.rows) == 3
    assert not [note for note in shown.notes if note.startswith("not run")]


def test_the_best_epoch_is_shown_and_the_last_on_request(table: Table, runs: Path) -> None:
    lay(runs, run("seed=0", score("top1", 0.5), score("top1", 0.75, at="best")))
    shown = table()
    assert shown.rows[0]["test top1 %"] == "75.00"
    assert "over n seeds at the epoch with the best validation top1. " in shown.note("Mean ± ")
    shown = table("--at", "last")
    assert shown.rows[0]["test top1 %"] == "50.00"
    assert " over n seeds at the last epoch. " in shown.note("Mean ± ")


@pytest.mark.parametrize(("split", "at", "flatters"), [("val", "best", 1), ("val", "last", 0), ("test", "best", 0)])
def test_a_validation_score_of_the_epoch_that_it_chose_is_told_of(
    table: Table, runs: Path, split: str, at: str, flatters: int
) -> None:
    everywhere = [score("top1", 0.5, split=each, at=place) for each in ("val", "test") for place in ("best", "last")]
    lay(runs, run("seed=0", *everywhere))
    said = [note for note in table("--split", split, "--at", at).notes if "was chosen on these very validation" in note]
    assert len(said) == flatters


def test_without_a_best_epoch_the_last_is_shown_and_the_note_says_so(table: Table, runs: Path) -> None:
    lay(runs, run("seed=0", score("top1", 0.5)))
    shown = table()
    assert shown.rows[0]["test top1 %"] == "50.00"
    assert " at the last epoch (there is no validation). " in shown.note("Mean ± ")
    lay(runs, run("seed=1", score("top1", 0.1), score("top1", 0.75, at="best")))
    shown = table()
    assert shown.rows[0]["test top1 %"] == "62.50 ± 17.68"
    assert " at the epoch with the best validation top1, else the last. " in shown.note("Mean ± ")


def test_a_finished_run_that_lacks_a_score_is_named(table: Table, runs: Path) -> None:
    lay_sweep(runs, {"optimizer=sgd": [{"top1": 0.5, "loss": 1.0}, {"top1": 0.6, "loss": 2.0}, {"top1": 0.7}]})
    shown = table("--scores", "top1,loss")
    (row,) = shown.rows
    assert (row["n"], row["test top1 %"]) == ("3", "60.00 ± 10.00")
    assert row["test loss"] == "1.5000 ± 0.7071 (n = 2)"
    assert "no test loss that is a number: the runs seed=2" in shown.notes


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_finished_run_whose_score_is_no_number_is_named(table: Table, runs: Path, value: float) -> None:
    """A mean without it would be a mean of the successful runs only."""
    lay_sweep(runs, {"optimizer=sgd": [{"loss": 1.0}, {"loss": 2.0}, {"loss": value}]})
    shown = table("--scores", "loss")
    assert (shown.rows[0]["n"], shown.rows[0]["test loss"]) == ("2", "1.5000 ± 0.7071")
    assert shown.rows[0]["runs"] == "2/3 (1 not finite)"
    assert "no test loss that is a number: the runs seed=2" in shown.notes


def test_a_setting_whose_runs_have_not_all_come_through_is_not_marked_for_its_survivors(
    table: Table, runs: Path
) -> None:
    sgd: list[Outcome] = [0.50, 0.51, 0.52, 0.53]
    for lost in ("failed", {"top1": math.nan}, None, "running"):
        lay_sweep(runs / "sweep", {"optimizer=sgd": sgd, "optimizer=adam": [0.80, 0.81, 0.82, lost]})
        shown = table()
        assert not any(cell.startswith("**") for row in shown.rows for cell in row.values())
        assert shown.row("adam")["runs"].startswith("3/4 (")
        assert shown.row("sgd")["runs"] == "4/4"
        assert shown.verdict == (
            "test top1 %: can't tell which is best; optimizer=adam (3 of 4 runs) leads optimizer=sgd by 29.50 points"
            " [27.27, 31.73] (3 and 4 seeds, these images); the runs that it lacks may have gone worse."
        )
        shutil.rmtree(runs / "sweep")
    lay_sweep(runs / "sweep", {"optimizer=sgd": sgd, "optimizer=adam": [0.80, 0.81, 0.82, 0.84]})
    assert table().row("adam")["test top1 %"].startswith("**")


def test_a_lead_over_a_setting_that_lacks_runs_says_so(table: Table, runs: Path) -> None:
    lay_sweep(runs, {"optimizer=sgd": [0.5, 0.51, "failed"], "optimizer=adam": [0.80, 0.81, 0.82]})
    shown = table()
    assert shown.row("adam")["test top1 %"].startswith("**")
    assert "optimizer=adam is best; it leads optimizer=sgd (2 of 3 runs), the next, by 30.50 points" in shown.verdict


def test_a_diverged_loss_of_any_size_does_not_end_the_table(table: Table, runs: Path) -> None:
    lay_sweep(runs, {"optimizer=sgd": [{"loss": 1.7e308}] * 2, "optimizer=adam": [{"loss": 0.25}] * 2})
    assert table("--scores", "loss").row("adam")["test loss"] == "0.2500 ± 0.0000"


def test_runs_that_kept_the_test_set_closed_are_left_out_and_said_to_be(
    table: Table, command: Callable[..., Said], runs: Path
) -> None:
    """sweep=tuned leaves such runs: they were trained to choose a rate by validation."""
    for scale, top1 in ((1, 0.3), (10, 0.2)):
        lay(runs, run(f"optimizer=sgd optimizer.lr_scale={scale} test=false", score("top1", top1, split="val")))
    for seed, top1 in ((0, 0.5), (1, 0.6)):
        tops = [score("top1", top1), score("top1", top1 - 0.1, split="val")]
        lay(runs, run(f"optimizer=sgd optimizer.lr_scale=3 seed={seed}", *tops))
    shown = table()
    assert [(row["setting"], row["n"]) for row in shown.rows] == [("all runs", "2")]
    assert "left out: 2 runs with test=false, as tuning has them; --split val shows them" in shown.notes
    printed = command("table", str(runs), "--format", "latex")[1]
    assert r"\item left out: 2 runs with test=false, as tuning has them." in printed  # no option of a command
    shown = table("--split", "val")
    assert {row["optimizer.lr_scale"]: row["val top1 %"] for row in shown.rows} == {
        "1": "30.00",
        "3": "45.00 ± 7.07",
        "10": "20.00",
    }


def test_the_runs_of_tuning_alone_are_shown_by_validation(
    table: Table, refusal: Callable[..., str], runs: Path
) -> None:
    for scale, top1 in ((1, 0.5), (3, 0.6)):
        lay(runs, run(f"optimizer.lr_scale={scale} test=false", score("top1", top1, split="val")))
    shown = table()
    assert {row["optimizer.lr_scale"]: row["val top1 %"] for row in shown.rows} == {"1": "50.00", "3": "60.00"}
    assert refusal("--split", "test") == (
        "--split test needs runs that opened the test set, and all kept it closed; give --split val"
    )


def test_a_seed_that_tuning_had_trained_before_counts_once(table: Table, runs: Path) -> None:
    """The same training without and with a test is one seed, as a copy is no repetition."""
    for seed, top1 in enumerate((0.5, 0.6, 0.7)):
        lay(runs, run(f"optimizer=sgd seed={seed}", score("top1", top1, split="val"), score("top1", top1)))
    lay(runs, run("optimizer=sgd seed=0 test=false", score("top1", 0.5, split="val")), "tuning")
    shown = table("--split", "val")
    assert (shown.rows[0]["n"], shown.rows[0]["val top1 %"]) == ("3", "60.00 ± 10.00")
    assert "tuning" in shown.note("one training, counted once: ")
    assert table().rows[0]["test top1 %"] == "60.00 ± 10.00"


def test_one_training_with_two_results_is_told_and_not_mixed(
    table: Table, refusal: Callable[..., str], runs: Path
) -> None:
    """Two studies may train the same on two machines. The one that stays takes no score of the other."""
    for study, top1, kernels, others in (
        ("losses", 0.6, "AVX2", ["top5", "ece"]),
        ("optimizers", 0.5, "AVX512", ["iou"]),
    ):
        scores = [score(metric, top1) for metric in ("top1", *others)]
        made = run(f"optimizer=sgd seed=0 test_calibration={study == 'losses'}", *scores, weights={"last": kernels * 8})
        lay(runs, dataclasses.replace(made, environment={**made.environment, "cpu_kernels": kernels}), study)
    shown = table()
    assert shown.rows[0]["test top1 %"].startswith("60.00")
    told = shown.note("one training, counted once with different weights (kernels: AVX2, AVX512): ")
    assert "not optimizers" in told
    assert "no run has the score test iou" in refusal("--scores", "iou")


def test_repetitions_of_a_seed_are_counted_and_said_to_be(table: Table, runs: Path) -> None:
    """For example from other states, a factor that the configuration does not show."""
    for parent, top in (("a" * 8, 0.5), ("b" * 8, 0.6)):
        lay(runs, run("optimizer=sgd", score("top1", top), parent=f"outputs/seed-0-{parent}"))
    shown = table()
    assert shown.rows[0]["n"] == "2"
    assert "the runs: several runs of seed 0, each counted" in shown.notes


def test_costs_are_means_over_finished_runs(table: Table, runs: Path) -> None:
    for seed, seconds in enumerate((90.0, 110.0)):
        cost = {"seconds": seconds, "parameters": 1_234_567, "flops_per_image": 5_250_000, "images_per_second": 3.0}
        lay(runs, run(f"seed={seed}", score("top1", 0.5), cost=cost))
    lay(runs, run("seed=2", status="failed", cost={"seconds": 1e6}))
    (row,) = table().rows
    assert (row["parameters"], row["MFLOPs an image"], row["seconds"]) == ("1234567", "5.25", "100")


def test_a_record_is_never_written_to(table: Table, runs: Path) -> None:
    lay_sweep(runs, {"optimizer=sgd": [0.5, "running"]})
    before = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}
    table()
    assert {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()} == before
    assert {json.loads(text)["status"] for text in before.values()} == {"finished", "running"}
