"""Test what MLflow has of a run, read through MLflow's own client: once, however often the run was killed."""

import importlib.util
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import assert_same_run, ended_at, one_line

from imgrec import launch
from imgrec.config.compose import compose
from imgrec.curve_file import read_curves
from imgrec.errors import RunError, UsageError

# it is imported by the tests alone, as that takes seconds
pytestmark = pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="needs the extra mlflow")

TWO = "trainer.max_epochs=2"  # 8 steps each
WORDS = (TWO, "loggers=[mlflow]")


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow makes its tables in seconds, so the tests copy them."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    client_of(path).search_experiments()
    return path


@pytest.fixture
def database(empty_database: Path, workplace: Path) -> Path:
    path = workplace / "runs/mlflow.db"
    path.parent.mkdir()
    shutil.copy(empty_database, path)
    return path


def client_of(database: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{database}")


def runs_in(database: Path) -> list[Any]:
    client = client_of(database)
    return list(client.search_runs([each.experiment_id for each in client.search_experiments()]))


def history(database: Path, run: Any) -> dict[str, list[tuple[int, float]]]:
    client = client_of(database)
    return {
        name: [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }


def assert_has_the_curves(database: Path, run: Any, folder: Path) -> None:
    """Each number of curves.csv is there once."""
    found = history(database, run)
    expected: dict[str, list[tuple[int, float]]] = {}
    for row in read_curves(folder / "curves.csv"):
        if row["metric"] != "images_per_second":
            expected.setdefault(f"{row['split']}/{row['metric']}", []).append((int(row["step"]), float(row["value"])))
    for name, values in expected.items():
        assert found[name] == values, name
    for name, values in found.items():
        if name != "epoch":
            assert max(Counter(step for step, _ in values).values()) == 1, name


@pytest.mark.long
def test_a_run_is_there_with_curves_settings_scores_and_figures(tiny: list[str], database: Path) -> None:
    done = launch.train([*tiny, *WORDS, "hydra.run.dir=runs/one", "logger.mlflow.tags=[team:a]"])
    (run,) = runs_in(database)
    assert_has_the_curves(database, run, done.folder)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "one"
    assert run.data.tags["imgrec.run_id"] == done.record.run_id
    assert run.data.tags["team"] == "a"
    assert run.data.params["optimizer.lr"] == "0.001"
    assert run.data.params["model.widths"] == "[4, 8]"
    assert not [key for key in run.data.params if key.startswith("logger.")]
    score = done.record.score("top1", split="test", at="best")
    assert score is not None
    assert run.data.metrics["final/clean/test_top1_best"] == score.value
    client = client_of(database)
    assert client.get_experiment(run.info.experiment_id).name == "runs"
    assert {each.path for each in client.list_artifacts(run.info.run_id)} >= {"confusion.png"}
    import mlflow

    assert mlflow.active_run() is None


@pytest.mark.parametrize(("signum", "every"), [(signal.SIGKILL, 3), (signal.SIGTERM, 0)])
@pytest.mark.long
def test_a_run_that_was_ended_and_goes_on_is_one_run_without_a_doubled_step(
    tiny: list[str],
    imgrec: Callable[..., Any],
    undisturbed: Callable[..., Path],
    database: Path,
    signum: int,
    every: int,
) -> None:
    words = ["train", *tiny, *WORDS, f"trainer.checkpoint_every={every}", "hydra.run.dir=runs/cut"]
    child = imgrec(*words, before=lambda: ended_at(11, signum))
    assert child.wait() in (-9, 143), child.log.read_text()
    (run,) = runs_in(database)
    assert run.info.status == ("RUNNING" if signum == signal.SIGKILL else "KILLED")
    assert max(step for step, _ in history(database, run)["train/step_loss"]) >= 10
    again = imgrec(*words, "data.num_workers=1")  # a setting that MLflow cannot change any more
    assert again.wait() == 0, again.log.read_text()
    (same,) = runs_in(database)
    assert (same.info.run_id, same.info.status) == (run.info.run_id, "FINISHED")
    assert_has_the_curves(database, same, Path("runs/cut"))
    assert_same_run(undisturbed(TWO), Path("runs/cut"))


@pytest.mark.long
def test_a_logger_that_is_named_later_gets_the_rows_before(
    tiny: list[str], imgrec: Callable[..., Any], database: Path
) -> None:
    child = imgrec("train", *tiny, TWO, "loggers=[]", "hydra.run.dir=runs/cut", before=lambda: ended_at(11))
    assert child.wait() == 143, child.log.read_text()
    assert imgrec("train", *tiny, *WORDS, "hydra.run.dir=runs/cut").wait() == 0
    (run,) = runs_in(database)
    assert_has_the_curves(database, run, Path("runs/cut"))


@pytest.mark.long
def test_each_run_of_a_sweep_is_a_run_there(
    tiny: list[str], database: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    words = [*tiny, "trainer.max_epochs=1", "loggers=[mlflow]", "hydra.sweep.dir=runs"]
    assert command("train", "-m", *words, "optimizer=adam,sgd")[0] == 0
    found = runs_in(database)
    assert sorted(run.data.params["optimizer.name"] for run in found) == ["adam", "sgd"]
    assert {run.info.status for run in found} == {"FINISHED"}
    for run in found:
        assert_has_the_curves(database, run, Path("runs") / run.info.run_name)


@pytest.mark.long
def test_a_run_whose_server_is_gone_ends_with_a_line_and_goes_on_without_it(
    tiny: list[str], imgrec: Callable[..., Any], undisturbed: Callable[..., Path], database: Path
) -> None:
    def server_goes() -> None:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        log = MlflowClient.log_batch

        def log_batch(self: Any, run_id: str, metrics: Any = (), *rest: Any, **more: Any) -> Any:
            if any(metric.step > 10 for metric in metrics):
                raise MlflowException("the server is gone")
            return log(self, run_id, metrics, *rest, **more)

        MlflowClient.log_batch = log_batch

    words = ["train", *tiny, TWO, "hydra.run.dir=runs/cut"]
    child = imgrec(*words, "loggers=[mlflow]", before=server_goes)
    assert child.wait() == 1
    said = one_line(child.log.read_text())
    assert "logger=mlflow cannot use sqlite:///" in said
    assert (
        "the server is gone; mend that, or leave mlflow out of loggers; the same command goes on from its last" in said
    )
    assert imgrec(*words, "loggers=[]").wait() == 0
    assert_same_run(undisturbed(TWO), Path("runs/cut"))


@pytest.mark.slow
def test_of_several_processes_the_first_logs(
    tiny: list[str], imgrec: Callable[..., Any], database: Path, workplace: Path
) -> None:
    words = ["trainer=ddp", "trainer.accelerator=cpu", "data.batch_size=4", "loggers=[mlflow,wandb,csv,tensorboard]"]
    child = imgrec("train", *tiny, *words, TWO, "hydra.run.dir=runs/two", "trainer.tensorboard=true")
    assert child.wait() == 0, child.log.read_text()
    (run,) = runs_in(database)
    assert_has_the_curves(database, run, Path("runs/two"))
    assert len(list(Path("runs/two").rglob("*.wandb"))) == 1
    assert len({path.name.split(".")[-2] for path in Path("runs/two").rglob("events.out.*")}) == 1, (
        "the process' number"
    )


@pytest.mark.slow
def test_runs_that_begin_at_the_same_time_make_one_database(
    tiny: list[str], imgrec: Callable[..., Any], workplace: Path
) -> None:
    words = [*tiny, *WORDS, "hydra.sweep.dir=runs", "seed=0,1,2", "launcher=pool", "launcher.processes=3"]
    child = imgrec("train", "-m", *words)
    assert child.wait() == 0, child.log.read_text()
    found = runs_in(workplace / "runs/mlflow.db")
    assert sorted(run.data.params["seed"] for run in found) == ["0", "1", "2"]
    for run in found:
        assert_has_the_curves(workplace / "runs/mlflow.db", run, Path("runs") / run.info.run_name)
    assert not list(Path("runs").glob("mlflow-*"))


@pytest.mark.long
def test_trials_and_verifications_leave_it_alone(tiny: list[str], database: Path, command: Callable[..., Any]) -> None:
    before = database.read_bytes()
    assert command("train", *tiny, *WORDS, "trainer.fast_dev_run=true")[0] == 0
    assert database.read_bytes() == before
    launch.train([*tiny, *WORDS, "hydra.run.dir=runs/one"])
    assert command("verify", "runs/one")[0] == 0
    assert len(runs_in(database)) == 1


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("logger.mlflow.tags=[team]", "logger.mlflow.tags must hold KEY:VALUE, got 'team'; write team:yes, say"),
        (
            "logger.mlflow.tracking_uri='postgresql://me:secret@host/db'",
            "logger.mlflow.tracking_uri must hold no password, as records keep it; give the address by MLFLOW",
        ),
    ],
)
def test_a_wrong_setting_is_refused(word: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as refused:
        compose(["loggers=[mlflow]", word])
    assert "secret" not in str(refused.value)


def test_an_address_with_a_password_may_come_from_the_environment_and_is_not_told(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://me:secret@host/db")
    with pytest.raises(RunError, match="logger=mlflow cannot use nonsense://host/db") as refused:
        launch.train([*tiny, *WORDS])
    assert "secret" not in str(refused.value)


@pytest.mark.long
def test_without_hard_links_no_database_takes_the_place_of_another(
    tiny: list[str], empty_database: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process makes the database and writes into it while this one makes its own."""
    place = workplace / "runs/mlflow.db"

    def no_links(self: Path, target: Path) -> None:
        shutil.copy(empty_database, place)
        client_of(place).create_experiment("of another process")
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    launch.train([*tiny, "trainer.max_epochs=1", "loggers=[mlflow]", "hydra.run.dir=runs/one"])
    assert client_of(place).get_experiment_by_name("of another process") is not None
    assert len(runs_in(place)) == 1
