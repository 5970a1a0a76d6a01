"""Test the loggers that need no other package, and what all loggers have in common."""

import importlib.util
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from lightning.pytorch.loggers.logger import Logger as LightningLogger
from runs import assert_same_run, ended_at, one_line

from imgrec import launch
from imgrec.config.compose import compose
from imgrec.config.logger import RunLogger
from imgrec.curve_file import read_curves
from imgrec.errors import Interrupted, RunError
from imgrec.job import Job
from imgrec.records import Score
from imgrec.training.loggers.csv import Csv
from imgrec.training.run_loggers import RunLoggers

TWO = "trainer.max_epochs=2"  # 8 steps each


@pytest.mark.long
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
@pytest.mark.long
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


@pytest.mark.parametrize(
    ("word", "package", "extra"),
    [
        ("loggers=[wandb]", "wandb", "wandb"),
        ("loggers=[mlflow]", "mlflow", "mlflow"),
        ("callbacks=[device_stats]", "psutil", "stats"),
    ],
)
def test_a_missing_package_is_said_before_anything_is_made(
    tiny: list[str],
    command: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    workplace: Path,
    word: str,
    package: str,
    extra: str,
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == package else found(name, *rest)
    )
    for words in ([*tiny, word], ["-m", *tiny, word, "seed=0,1"]):
        code, out, err = command("train", *words)
        assert (code, out) == (2, "")
        name = word.partition("[")[2].rstrip("]")
        assert f"={name} needs the package {package}, which is not installed; in the clone," in one_line(err)
        assert f"pip install -e '.[{extra}]', or leave {name} out of the " in one_line(err)
        assert list(workplace.iterdir()) == []


def test_a_logger_that_knows_nothing_of_runs_gets_settings_and_scores() -> None:
    calls: list[tuple[str, Any]] = []

    class Plain(LightningLogger):
        name, version = "plain", ""

        def log_metrics(self, metrics: Any, step: int | None = None) -> None:
            calls.append(("metrics", dict(metrics)))

        def log_hyperparams(self, params: Any, *rest: Any) -> None:  # type: ignore[override]
            calls.append(("settings", params["optimizer.name"]))

        def finalize(self, status: str) -> None:
            calls.append(("finalize", status))

    job = Job(config=compose(["data=digits"]), folder=Path("run"), run_id="0" * 64, fingerprint="")
    loggers = RunLoggers({"plain": Plain()})
    score = Score(split="test", protocol="gaussian_noise:0.1", metric="top1", value=0.5, n=2, at="last")
    with loggers.ended():
        loggers.begin(job, curves=None, step=0)
        loggers.log_scores([score], step=3)
        loggers.log_figure("confusion", lambda: pytest.fail("a figure that nobody takes is not drawn"), step=3)
    assert calls == [
        ("settings", "adam"),
        ("metrics", {"final/gaussian_noise_0.1/test_top1_last": 0.5}),
        ("finalize", "success"),
    ]


@pytest.mark.parametrize(
    ("error", "status"), [(RunError("no"), "failed"), (Interrupted(signal.SIGTERM), "interrupted")]
)
def test_an_error_counts_more_than_that_of_a_logger_which_is_closed_after_it(
    caplog: pytest.LogCaptureFixture, error: BaseException, status: str
) -> None:
    class Stuck(LightningLogger, RunLogger):
        name, version = "stuck", ""

        def log_metrics(self, metrics: Any, step: int | None = None) -> None: ...

        def log_hyperparams(self, params: Any, *rest: Any) -> None: ...  # type: ignore[override]

        def end_run(self, status: str) -> None:
            raise RunError(f"cannot be closed as {status}")

    with pytest.raises(type(error)) as raised, RunLoggers({"mine": Stuck()}).ended():
        raise error
    assert raised.value is error
    assert f"logger=mine was not closed after the run was {status}: cannot be closed as {status}" in caplog.text
    with pytest.raises(RunError, match="cannot be closed as finished"), RunLoggers({"mine": Stuck()}).ended():
        pass


@pytest.mark.parametrize("order", [("stuck", "good"), ("good", "stuck")])
def test_a_logger_that_cannot_be_closed_keeps_no_other_from_its_end(order: tuple[str, str]) -> None:
    class Noted(LightningLogger, RunLogger):
        name, version = "noted", ""

        def __init__(self, kind: str) -> None:
            super().__init__()
            self.kind = kind

        def log_metrics(self, metrics: Any, step: int | None = None) -> None: ...

        def log_hyperparams(self, params: Any, *rest: Any) -> None: ...  # type: ignore[override]

        def end_run(self, status: str) -> None:
            ended.append(f"{self.kind} {status}")
            if self.kind == "stuck":
                raise RunError("cannot be closed")

    ended: list[str] = []
    with pytest.raises(RunError, match="cannot be closed"), RunLoggers({kind: Noted(kind) for kind in order}).ended():
        pass
    assert ended == [f"{kind} finished" for kind in order]


@pytest.mark.long
def test_a_logger_that_fails_in_the_middle_ends_the_run_which_goes_on_without_it(
    tiny: list[str], imgrec: Callable[..., Any], undisturbed: Callable[..., Path]
) -> None:
    """A folder stands where the table is to be written."""

    def in_the_way() -> None:
        from imgrec.training.csv_table import Table

        log = Table.log_metrics

        def log_metrics(self: Any, metrics: Any, step: int | None = None) -> None:
            if step == 11:
                Path("cut/csv/metrics.csv").unlink()
                Path("cut/csv/metrics.csv").mkdir()
            log(self, metrics, step)

        Table.log_metrics = log_metrics  # type: ignore[method-assign]

    words = ["train", *tiny, TWO, "hydra.run.dir=cut"]
    child = imgrec(*words, "loggers=[csv]", before=in_the_way)
    assert child.wait() == 1
    assert "cut/csv/metrics.csv cannot be written: Is a directory; free the disk" in one_line(child.log.read_text())
    assert imgrec(*words, "loggers=[]").wait() == 0
    assert_same_run(undisturbed(TWO), Path("cut"))


@pytest.mark.parametrize(("kind", "what"), [("simple", "training_step"), ("pytorch", "Cnn: network")])
@pytest.mark.long
def test_a_profiler_writes_into_the_run_s_folder_and_changes_nothing(
    tiny: list[str], undisturbed: Callable[..., Path], kind: str, what: str
) -> None:
    run = launch.train([*tiny, TWO, f"trainer.profiler={kind}", "hydra.run.dir=run"])
    (report,) = (run.folder / "profile").glob("*.txt")
    assert what in report.read_text()
    assert_same_run(undisturbed(TWO), run.folder)
