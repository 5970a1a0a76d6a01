"""Test the summary of a run's record in a few lines."""

import math
from pathlib import Path
from typing import Any

import pytest

from imgrec.records import Record, Score
from imgrec.summary import describe, overview, scores_table


def score(metric: str, value: float, **changes: Any) -> Score:
    return Score(**{"split": "test", "protocol": "clean", "at": "last", "n": 10, **changes}, metric=metric, value=value)


def record(**changes: Any) -> Record:
    given: dict[str, Any] = {"experiment": None, "study": None, "command": [], "config": {}, "fingerprint": ""}
    return Record(run_id="a" * 64, **{"status": "finished", **given, **changes})


def test_scores_of_unequal_classes_are_shown_where_they_differ_from_top1() -> None:
    equal = [score("top1", 0.9), score("balanced_accuracy", 0.9), score("macro_f1", 0.89)]
    assert "balanced" not in scores_table(equal)
    heading, row = scores_table(
        [score("top1", 0.9), score("balanced_accuracy", 0.7), score("macro_f1", 0.6)]
    ).splitlines()
    assert heading.split()[3:] == ["top1", "balanced_accuracy", "macro_f1"]
    assert row.split()[3:] == ["0.9000", "0.7000", "0.6000"]
    assert len(heading) == len(row)


def test_a_row_for_each_split_protocol_and_checkpoint_with_what_was_measured() -> None:
    rows = [
        score("top1", 0.5),
        score("loss", 1.25),
        score("top1", 0.75, split="val", at="best"),
        score("top1", 0.625, protocol="tta_flip_shift"),
    ]
    assert scores_table(rows).splitlines() == [
        "split protocol        at           top1       loss",
        "test  clean           last       0.5000     1.2500",
        "test  tta_flip_shift  last       0.6250           ",
        "val   clean           best       0.7500           ",
    ]


def test_a_diverged_run_is_shown_as_it_is() -> None:
    assert scores_table([score("loss", math.nan)]).splitlines()[1].endswith("nan")


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (9999.0, "9999.0000"),
        (1e4, "1.000e+04"),
        (4.972219630725917e35, "4.972e+35"),
        (-1.7e308, "-1.700e+308"),
        (math.inf, "inf"),
    ],
)
def test_columns_never_run_together(value: float, cell: str) -> None:
    (row,) = scores_table([score("top1", 0.1), score("loss", value), score("ece", 0.9)]).splitlines()[1:]
    assert row.split() == ["test", "clean", "last", "0.1000", cell, "0.9000"]


def test_a_sweep_is_a_line_a_run_and_one_for_tensorboard(tmp_path: Path) -> None:
    group = tmp_path / "outputs" / "demo"
    (group / "a-1" / "tensorboard").mkdir(parents=True)
    runs = [
        (group / "a-1", record(scores=[score("top1", 0.5), score("top1", 0.75, at="best")])),
        (group / "bcd-2", record(scores=[score("top1", 0.25, split="val")])),
        (group / "e-3", record()),
        (group / "f-4", record(scores=[score("top1", 0.5, protocol="tta_flip"), score("top1", 0.4, split="val")])),
    ]
    assert overview(runs).splitlines() == [
        f"4 runs in {group}:",
        "a-1    0.7500  test top1 at best",
        "bcd-2  0.2500  val top1 at last",
        "e-3    finished, no top1",
        "f-4    0.5000  test top1 at last under tta_flip",
        f"tensorboard --logdir {group}",
    ]


def test_a_sweep_with_runs_left_shows_validation_alone(tmp_path: Path) -> None:
    measured = record(scores=[score("top1", 0.5), score("top1", 0.25, split="val"), score("top1", 0.75, at="best")])
    runs = [(tmp_path / "a-1", measured), (tmp_path / "b-2", record(scores=[score("top1", 0.9)]))]
    assert overview(runs, complete=False).splitlines() == [
        f"2 runs in {tmp_path}: (test scores are shown when no run is left to do)",
        "a-1  0.2500  val top1 at last",
        "b-2  finished, no validation top1",
    ]


def test_a_finished_run_tells_its_scores_its_rate_and_how_to_see_it(tmp_path: Path) -> None:
    folder = tmp_path / "outputs" / "demo" / "x"
    (folder / "tensorboard").mkdir(parents=True)
    finished = record(scores=[score("top1", 0.5)], cost={"images_per_second": 1234.5, "seconds": 61.2})
    lines = describe(folder, finished, already=False).splitlines()
    assert lines[0] == f"finished: {folder}"
    assert "trained at 1234 images/s, 61 s in all" in lines
    assert lines[-1] == f"tensorboard --logdir {folder.parent}"
    assert any("0.5000" in line for line in lines)


def test_a_run_that_had_finished_says_so_and_how_to_do_it_over(tmp_path: Path) -> None:
    text = describe(tmp_path, record(), already=True)
    assert text == f"finished already: {tmp_path}  (force=true does it over, in a new folder)"
    text = describe(tmp_path, record(), already=True, named=True)
    assert text == f"finished already: {tmp_path}  (another hydra.run.dir does it over)"


def test_a_run_without_scores_cost_or_events_is_one_line(tmp_path: Path) -> None:
    assert describe(tmp_path, record(status="interrupted"), already=False) == f"interrupted: {tmp_path}"
