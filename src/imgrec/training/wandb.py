"""Log a run to Weights & Biases: curves, settings, scores and figures, in one run there however often it is resumed."""

import contextlib
import logging
import secrets
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from matplotlib.figure import Figure

from imgrec import runfolder
from imgrec.config.logger import Began, Rows, RunLogger, curve_name, score_name
from imgrec.errors import RunError
from imgrec.records import Score
from imgrec.runfolder import WANDB
from imgrec.training import their_runs

log = logging.getLogger(__name__)

_PROGRAM = "wandb"
_DIGITS = 8  # hexadecimal digits of the run's id, and as many of its own, in the id there
_PAUSES = (0.1, 0.5, 2.0)  # seconds, until the process that wrote for a killed run has noticed its end
_STEP = "trainer/global_step"  # as Lightning calls it


class WandbRun(WandbLogger, RunLogger):
    """The run of Weights & Biases that belongs to a run.

    wandb's own step is the training's, so that all values of a step are one row. A resumed run leaves out the steps
    that the run on the server has. Offline, wandb cannot resume: the file is written anew, with the earlier rows from
    curves.csv, and that of the earlier process is removed.

    Args:
        folder: The run's folder.
        run_id: The run's id, whose first digits begin the id there.
        mode: online, offline or disabled.
        project: The project.
        entity: The user or team.
        group: The group.
        tags: The tags.
    """

    def __init__(
        self,
        folder: Path,
        *,
        run_id: str,
        mode: str,
        project: str,
        entity: str | None,
        group: str,
        tags: Sequence[str],
    ) -> None:
        self._folder, self._run, self._is_offline = folder, run_id, mode == "offline"
        self._until = -1  # the last step that the run on the server has
        super().__init__(
            name=folder.resolve().name,
            save_dir=folder,
            project=project,
            mode=mode,
            entity=entity,
            group=group,
            tags=list(tags),
            reinit="create_new",  # a program's own run stays apart
            settings=wandb.Settings(
                # nothing but what a run tells: no output of the process, no code, no address of a repository
                console="off",
                disable_code=True,
                disable_git=True,
                silent=True,
            ),
        )

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run of wandb's, which is begun at the first use."""
        if self._experiment is None:
            noted = their_runs.kept(self._folder, _PROGRAM)
            id = noted.get("id") or f"{self._run[:_DIGITS]}-{secrets.token_hex(_DIGITS // 2)}"
            if not noted:
                their_runs.keep(self._folder, _PROGRAM, {"id": id})
            with self._told_of_errors():
                asked = {key: value for key, value in self._wandb_init.items() if key != "anonymous"}  # has gone
                self._experiment = wandb.init(**{**asked, "id": id})
                if self._experiment.resumed:
                    self._until = self._experiment.starting_step - 1
            self._id = id
        return self._experiment

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        at = step or 0
        if at <= self._until:
            return
        with self._told_of_errors():
            named = {curve_name(name): value for name, value in metrics.items()}
            self.experiment.log({**named, _STEP: at}, step=at)

    def begin_run(self, run: Began) -> None:
        """Take the settings, and remove what an earlier process has kept offline."""
        for earlier in (self._folder / WANDB).glob("offline-run-*"):
            _remove(earlier)
        settings = {**run.settings, "imgrec.run_id": run.run_id}
        if run.parent is not None:
            settings["imgrec.parent"] = run.parent.name
        with self._told_of_errors():
            self.experiment.config.update(settings, allow_val_change=True)
            if self._is_offline:
                log.info("to send the run: wandb sync %s", shlex.quote(str(Path(self.experiment.dir).parent)))
            elif self.experiment.url:
                log.info("the run at Weights & Biases: %s", self.experiment.url)

    def log_earlier(self, rows: Rows) -> None:
        for step, values in rows:
            self.log_metrics(values, step)
        self.sync()

    def log_scores(self, scores: Sequence[Score], *, step: int) -> None:
        with self._told_of_errors():
            self.experiment.summary.update({score_name(score): score.value for score in scores})

    def log_figure(self, name: str, figure: Figure, *, step: int) -> None:
        """Show a figure after the last step, whose row is complete."""
        with self._told_of_errors():
            self.experiment.log({name: wandb.Image(figure), _STEP: step}, step=step + 1)

    def sync(self) -> None:
        """Complete the row of the step, so that it is not lost if the process is killed before the next one."""
        with self._told_of_errors():
            self.experiment.log({}, commit=True)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Do nothing: the training is over, and the final reading comes."""

    def end_run(self, status: str) -> None:
        if self._experiment is not None:
            with self._told_of_errors():
                self._experiment.finish(exit_code=0 if status == "finished" else 1)

    @contextlib.contextmanager
    def _told_of_errors(self) -> Iterator[None]:
        """Turn an error of wandb's into a refusal."""
        try:
            yield
        except (wandb.Error, ConnectionError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise RunError(
                f"logger=wandb cannot go on: {reason}; mend that, or leave wandb out of loggers; the same command"
                f" {runfolder.ahead(self._folder)}"
            ) from error


def _remove(folder: Path) -> None:
    for pause in _PAUSES:
        try:
            shutil.rmtree(folder)
            return
        except OSError:  # something was written into it
            time.sleep(pause)
    shutil.rmtree(folder)
