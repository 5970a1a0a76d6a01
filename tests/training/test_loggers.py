"""Test the loggers that need no other package, and what all loggers have in common."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from runs import ended_at

from imgrec import launch
from imgrec.curve_file import read_curves
from imgrec.training.loggers.csv import Csv

TWO = "trainer.max_epochs=2"  # 8 steps each


def test_the_table_has_curves_settings_and_scores(tiny: list[str]) -> None:
    run = launch.train([*tiny, TWO, "loggers=[csv]"])
    table = pd.read_csv(run.folder / "csv/metrics.csv")
    curves = read_curves(run.folder / "curves.csv")
    for split, metric in (("val", "top1"), ("train", "loss"), ("train", "step_loss"), ("train", "lr")):
        rows = [row for row in curves if (row["split"], row["metric"]) == (split, metric)]
        expected = [(int(row["step"]), float(row["value"])) for row in rows]
        found = table[["step", f"{split}/{metric}"]].dropna()
        assert list(found.itertuples(index=False, name=None)) == expected
    score = run.record.score("top1", split="test", at="best")
    assert score is not None
    assert table["final/clean/test_top1_best"].dropna().tolist() == [score.value]
    assert "optimizer.lr: 0.001" in (run.folder / "csv/hparams.yaml").read_text()


@pytest.mark.parametrize(("signum", "every"), [(signal.SIGTERM, 0), (signal.SIGKILL, 3)])
def test_the_table_of_a_resumed_run_is_that_of_an_undisturbed_one(
    tiny: list[str], imgrec: Callable[..., Any], undisturbed: Callable[..., Path], signum: int, every: int
) -> None:
    """A killed run has rows of steps after its checkpoint, which come again."""
    words = [TWO, "loggers=[csv]", f"trainer.checkpoint_every={every}"]
    straight = pd.read_csv(undisturbed(*words) / "csv/metrics.csv")
    child = imgrec("train", *tiny, *words, "hydra.run.dir=cut", before=lambda: ended_at(11, signum))
    assert child.wait() == (-9 if signum == signal.SIGKILL else 143), child.log.read_text()
    assert imgrec("train", *tiny, *words, "hydra.run.dir=cut").wait() == 0
    resumed = pd.read_csv("cut/csv/metrics.csv")
    measured = ["train/images_per_second"]
    pd.testing.assert_frame_equal(resumed.drop(columns=measured), straight.drop(columns=measured))


def test_a_table_that_a_crash_has_cut_goes_on_before_its_last_line(tmp_path: Path) -> None:
    def logged(step: int) -> Any:
        logger: Any = Csv().build(tmp_path, run_id="0" * 64, step=step)
        return logger

    first = logged(0)
    for step in (1, 2, 3):
        first.log_metrics({"lr": 0.5, "epoch": 1.0}, step=step)
    with (tmp_path / "csv/metrics.csv").open("a") as file:
        file.write("4,0.")
    logged(2).log_metrics({"lr": 0.25, "val/top1": 1.0, "epoch": 1.0}, step=3)
    table = pd.read_csv(tmp_path / "csv/metrics.csv")
    assert table["step"].tolist() == [1, 2, 3]
    assert table["train/lr"].tolist() == [0.5, 0.5, 0.25]
    assert table["val/top1"].isna().tolist() == [True, True, False]
