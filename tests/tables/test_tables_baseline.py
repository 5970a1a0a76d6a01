"""Test which row is the baseline of which, where choices have settings that others lack."""

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import Shown, lay, lay_sweep, run, score

Table = Callable[..., Shown]
CHANGE = "Δ test top1 %"
TOPS = (0.5, 0.6)


def changes(shown: Shown) -> dict[tuple[str, str], str]:
    """Each row's difference without its interval, by the row's first two factors."""
    first, second = shown.header[:2]
    return {(row[first], row[second]): row[CHANGE].split(" ")[0] for row in shown.rows}


@pytest.fixture
def losses(runs: Path) -> None:
    """Focal losses have a setting that the other losses lack."""
    tops = {"loss=cross_entropy": [0.5, 0.6], "loss=brier": [0.7, 0.6]}
    lay_sweep(runs, tops | {"loss=focal loss.gamma=2": [0.53, 0.61], "loss=focal loss.gamma=3": [0.55, 0.63]})


@pytest.mark.parametrize("more", [(), ("--rows", "loss,loss.gamma")])
@pytest.mark.usefixtures("losses")
def test_a_choice_s_own_setting_needs_not_agree_with_a_baseline_that_lacks_it(
    table: Table, more: tuple[str, ...]
) -> None:
    shown = table("--baseline", "loss=cross_entropy", *more)
    assert changes(shown) == {
        ("brier", "–"): "+10.00",
        ("cross_entropy", "–"): "baseline",
        ("focal", "2"): "+2.00",
        ("focal", "3"): "+4.00",
    }
    assert "p: two-sided; Holm-corrected over 3 comparisons a column." in shown.notes
    assert not [note for note in shown.notes if note.startswith(("no run", "no baseline", "compared although"))]


@pytest.mark.usefixtures("losses")
def test_where_several_rows_fit_a_note_says_so_and_its_way_out_chooses_one(table: Table) -> None:
    shown = table("--baseline", "loss=focal")
    assert changes(shown) == {
        ("brier", "–"): "–",
        ("cross_entropy", "–"): "–",
        ("focal", "2"): "baseline",
        ("focal", "3"): "baseline",
    }
    said, way_out = shown.note("no baseline of loss=brier").split(", such as ")
    assert said == (
        "no baseline of loss=brier loss.gamma=–, as 2 rows fit: loss=focal loss.gamma=2, loss=focal loss.gamma=3;"
        " choose with another --baseline"
    )
    chosen = table("--baseline", "loss=focal", *shlex.split(way_out))
    assert changes(chosen) == {
        ("brier", "–"): "+8.00",
        ("cross_entropy", "–"): "-2.00",
        ("focal", "2"): "baseline",
        ("focal", "3"): "+2.00",
    }


@pytest.mark.usefixtures("losses")
def test_the_ways_out_of_missing_rows_keep_the_baseline(table: Table, refusal: Callable[..., str]) -> None:
    said = refusal("--baseline", "loss=cross_entropy", "--rows", "loss")
    assert said.startswith("loss.gamma must be a factor of the table, as it varies (2, 3, –) beside loss; name it as")
    words = shlex.split(said.partition("or fix it with ")[2])
    shown = table("--baseline", "loss=cross_entropy", "--rows", "loss", *words)
    assert {row["loss"]: row[CHANGE].split(" ")[0] for row in shown.rows} == {
        "brier": "+10.00",
        "cross_entropy": "baseline",
        "focal": "+2.00",
    }


def test_other_factors_must_agree_and_the_row_that_agrees_in_all_comes_first(table: Table, runs: Path) -> None:
    values = {
        "optimizer=sgd optimizer.lr_scale=1": [0.5, 0.6],
        "optimizer=sgd optimizer.lr_scale=3": [0.4, 0.5],
        "optimizer=adam optimizer.lr_scale=1": [0.55, 0.65],
        "optimizer=adam optimizer.lr_scale=3": [0.55, 0.65],
        "optimizer=adam optimizer.lr_scale=9": [0.55, 0.65],
    }
    lay_sweep(runs, values)
    shown = table("--baseline", "optimizer=sgd")
    found = changes(shown)
    assert (found["adam", "1"], found["adam", "3"], found["adam", "9"]) == ("+5.00", "+15.00", "–")
    assert shown.note("no baseline of optimizer=adam optimizer.lr_scale=9, as 2 rows fit: ")


def test_a_setting_that_both_choices_have_and_that_differs_is_told(table: Table, runs: Path) -> None:
    """Momentum and its variant for CIFAR-10 differ in their weight decay, which sgd has as well."""
    lay_sweep(runs, dict.fromkeys(("optimizer=sgd", "optimizer=momentum", "optimizer=momentum_cifar"), TOPS))
    shown = table("--baseline", "optimizer=sgd")
    assert {row[CHANGE] for row in shown.rows} == {"baseline", "+0.00"}
    assert shown.note("compared although settings of the choice differ too: ").endswith(
        ": optimizer=momentum optimizer.weight_decay=0.0001 with optimizer=sgd optimizer.weight_decay=0;"
        " optimizer=momentum optimizer.weight_decay=0.0005 with optimizer=sgd optimizer.weight_decay=0"
    )


def test_a_factor_of_another_axis_is_no_setting_of_the_choice(table: Table, runs: Path) -> None:
    values = ("optimizer=sgd loss=focal", "optimizer=sgd loss=focal_3", "optimizer=adam loss=brier")
    lay_sweep(runs, dict.fromkeys(values, TOPS))
    shown = table("--baseline", "optimizer=sgd")
    (row,) = (row for row in shown.rows if row["optimizer"] == "adam")
    assert row[CHANGE] == "–"
    assert shown.note("no run of loss=brier optimizer=sgd")


def test_runs_with_a_callback_are_compared_with_runs_without_one(table: Table, runs: Path) -> None:
    origin = {"file": "mine.py", "sha256": "0" * 64, "tree": "", "outside_identity": [], "observes": False}
    kept = {"callback=mine": {**origin, "defaults": {"x": 1.0}}}
    for seed, top1 in enumerate((0.5, 0.6)):
        plain = run(f"optimizer=sgd seed={seed}", score("top1", top1))
        lay(runs, plain)
        for x in (2.0, 3.0):
            config = {**plain.config, "callbacks": ["mine"], "callback.mine.x": x}
            own = [score("top1", top1 + x / 100)]
            made = replace(plain, config=config, components=kept, run_id=f"{10 * x + seed:064.0f}", scores=own)
            lay(runs, made, f"mine{x}{seed}")
    shown = table("--baseline", "callbacks=[]")
    assert changes(shown) == {("[]", "–"): "baseline", ("[mine]", "2"): "+2.00", ("[mine]", "3"): "+3.00"}
