"""Log a run to MLflow: curves, settings, scores and figures, in one run of MLflow's however often it is resumed."""

import contextlib
import fcntl
import logging
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.utilities import rank_zero_only
from matplotlib.figure import Figure
from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.tracking import MlflowClient
from mlflow.utils.validation import MAX_METRICS_PER_BATCH, MAX_PARAM_VAL_LENGTH, MAX_PARAMS_TAGS_PER_BATCH

from imgrec import runfolder
from imgrec.config.logger import Began, Rows, RunLogger, curve_name, score_name
from imgrec.errors import RunError
from imgrec.hparams import value_of
from imgrec.records import Score
from imgrec.training import their_runs

log = logging.getLogger(__name__)

_PROGRAM = "mlflow"
_STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
_DELETED = "deleted"
_SQLITE = "sqlite:///"
_TALKATIVE = ("mlflow", "alembic")


class MlflowRun(MLFlowLogger, RunLogger):
    """The run of MLflow's that belongs to a run.

    MLflow keeps whatever it is told, twice what it is told twice. So a resumed run leaves out what is there.

    Args:
        folder: The run's folder.
        run_id: The run's id, which becomes the tag `imgrec.run_id`.
        uri: Where MLflow keeps runs.
        artifacts: Where a new experiment keeps files; None lets a server decide.
        experiment_name: MLflow's experiment, which is created if there is none.
        tags: Further tags.
    """

    def __init__(
        self,
        folder: Path,
        *,
        run_id: str,
        uri: str,
        artifacts: str | None,
        experiment_name: str,
        tags: Mapping[str, str],
    ) -> None:
        for name in _TALKATIVE:  # tell of tables that they make, and of experiments
            logging.getLogger(name).setLevel(logging.WARNING)
        self._folder, self._uri = folder, uri
        self._steps: dict[str, int] = {}  # the last step of each metric that earlier processes have logged
        with self._told_of_errors():
            _make_database(uri)
            super().__init__(
                experiment_name=experiment_name,
                run_name=folder.resolve().name,
                tracking_uri=uri,
                tags={**tags, "imgrec.run_id": run_id},
                artifact_location=artifacts,
            )

    @property
    @rank_zero_experiment
    def experiment(self) -> MlflowClient:
        """MLflow's client, which has found or made the run. Lightning's would also change the process' own settings."""
        if not self._initialized:
            with self._told_of_errors():
                run = self._found() or self._made()
            self._run_id, self._experiment_id = run.info.run_id, run.info.experiment_id
            self._initialized = True
        return self._mlflow_client

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._log(self._new(metrics, step or 0))

    def begin_run(self, run: Began) -> None:
        """Take the settings. Those that changed since the run began stay as they were, as MLflow changes none."""
        with self._told_of_errors():
            client = self.experiment
            found = client.get_run(self._run_id)
            self._steps = {
                name: max(each.step for each in client.get_metric_history(self._run_id, name))
                for name in found.data.metrics
            }
            new = [
                Param(key, str(value_of(value))[:MAX_PARAM_VAL_LENGTH])
                for key, value in run.settings.items()
                if key not in found.data.params
            ]
            for first in range(0, len(new), MAX_PARAMS_TAGS_PER_BATCH):
                client.log_batch(self._run_id, params=new[first : first + MAX_PARAMS_TAGS_PER_BATCH])
            if run.parent is not None:
                client.set_tag(self._run_id, "imgrec.parent", run.parent.name)

    def log_earlier(self, rows: Rows) -> None:
        self._log([metric for step, values in rows for metric in self._new(values, step)])

    def log_scores(self, scores: Sequence[Score], *, step: int) -> None:
        with self._told_of_errors():
            client = self.experiment
            known = client.get_run(self._run_id).data.metrics
            values = {_allowed(score_name(score)): score.value for score in scores}
            new = {name: value for name, value in values.items() if known.get(name) != value}
            client.log_batch(self._run_id, [Metric(name, value, _now(), step) for name, value in new.items()])

    def log_figure(self, name: str, figure: Figure, *, step: int) -> None:
        with self._told_of_errors():
            self.experiment.log_figure(self._run_id, figure, f"{name}.png")

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Do nothing: the training is over, and the final reading comes."""

    def end_run(self, status: str) -> None:
        if self._run_id is not None:
            with self._told_of_errors():
                self._mlflow_client.set_terminated(self._run_id, _STATUS[status])

    def _new(self, values: Mapping[str, float], step: int) -> list[Metric]:
        """Return the values that no earlier process has logged."""
        named = {_allowed(curve_name(name)): float(value) for name, value in values.items()}
        return [Metric(name, value, _now(), step) for name, value in named.items() if step > self._steps.get(name, -1)]

    def _log(self, metrics: Sequence[Metric]) -> None:
        with self._told_of_errors():
            client = self.experiment
            for first in range(0, len(metrics), MAX_METRICS_PER_BATCH):
                client.log_batch(self._run_id, metrics[first : first + MAX_METRICS_PER_BATCH])

    def _found(self) -> Run | None:
        """Return the run that an earlier process has made; None if there is none, or if it was deleted."""
        noted = their_runs.kept(self._folder, _PROGRAM)
        if noted.get("tracking_uri") != self._uri:
            return None
        try:
            run = self._mlflow_client.get_run(noted["run_id"])
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise
            run = None
        if run is None or run.info.lifecycle_stage == _DELETED:
            log.warning("the run of MLflow's %s is not at %s any more: a new one begins", noted["run_id"], self._uri)
            return None
        self._mlflow_client.update_run(run.info.run_id, status="RUNNING")
        return run

    def _made(self) -> Run:
        """Make the run, and its experiment if there is none."""
        client, name = self._mlflow_client, self._experiment_name
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            try:
                client.create_experiment(name, artifact_location=self._artifact_location)
            except MlflowException as error:  # another run of a sweep was faster
                if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                    raise
            experiment = client.get_experiment_by_name(name)
        if experiment is None or experiment.lifecycle_stage == _DELETED:
            raise RunError(
                f"logger.mlflow.experiment_name={name} must be an experiment that was not deleted; restore it (mlflow"
                " experiments restore), or give another name"
            )
        run = client.create_run(experiment.experiment_id, tags=self.tags, run_name=self._run_name)
        their_runs.keep(self._folder, _PROGRAM, {"tracking_uri": self._uri, "run_id": run.info.run_id})
        return run

    @contextlib.contextmanager
    def _told_of_errors(self) -> Iterator[None]:
        """Turn an error of MLflow's into a refusal."""
        try:
            yield
        except (MlflowException, ImportError) as error:  # of a database, without the packages for one
            reason = " ".join(str(error).split()) or type(error).__name__
            raise RunError(
                f"logger=mlflow cannot use {_without_password(f'{self._uri}: {reason}')}; mend that, or leave mlflow"
                f" out of loggers; the same command {runfolder.ahead(self._folder)}"
            ) from error


def _make_database(uri: str) -> None:
    """Make a SQLite database that does not exist yet, in one step.

    MLflow fails if two processes make the tables at the same time, as those of a sweep do.
    """
    path = Path(uri.removeprefix(_SQLITE))
    if not uri.startswith(_SQLITE) or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mlflow-", dir=path.parent) as place:
        new = Path(place) / path.name
        MlflowClient(f"{_SQLITE}{new.resolve()}").search_experiments(max_results=1)
        try:
            path.hardlink_to(new)
        except FileExistsError:  # another process was faster
            pass
        except OSError:  # a file system without links: one process at a time looks and renames
            with path.with_name(f".{path.name}.lock").open("wb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not path.exists():
                    new.rename(path)


def _now() -> int:
    return int(1000 * time.time())


def _allowed(name: str) -> str:
    """Return the name with the characters that MLflow allows in metrics."""
    return re.sub(r"[^\w./ -]", "_", name, flags=re.ASCII)


def _without_password(text: str) -> str:
    """Return the text with the users and passwords of addresses left out."""
    return re.sub(r"//[^/@\s]*@", "//", text)
