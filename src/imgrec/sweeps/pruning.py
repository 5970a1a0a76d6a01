"""Decide which trials of a search are ended early, from the validation top1 after each of their epochs.

Optuna's asynchronous successive halving (ASHA, Li et al. 2020, https://arxiv.org/abs/1810.05934) compares a trial with
the others at the same epoch. Imports no torch.
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from imgrec.curve_file import read_curves
from imgrec.errors import RunError
from imgrec.job import Job
from imgrec.runfolder import CURVES
from imgrec.sweeps.strategies.optuna import Optuna

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner
    from optuna.trial import Trial

PRUNED = "pruned"  # attribute of a trial: why it is ended early
_PAUSE = 0.5  # seconds between two looks at the curves of a run


def pruner_of(sweep: Optuna) -> "BasePruner":
    """Return Optuna's pruner for these settings."""
    from optuna.pruners import NopPruner, SuccessiveHalvingPruner

    if sweep.pruner == "none":
        return NopPruner()
    return SuccessiveHalvingPruner(
        min_resource=sweep.min_epochs, reduction_factor=sweep.reduction_factor, min_early_stopping_rate=0
    )


class Judge:
    """A `sweep.watch.Judge` of the trials of a search.

    Args:
        study: The search, with its pruner.
        trials: The number of the trial of each run, by the run's id.
    """

    def __init__(self, study: "Study", trials: Mapping[str, int]) -> None:
        self._study, self._trials = study, trials
        self._looked: dict[str, float] = {}
        self._reported: dict[str, int] = {}
        self._handles: dict[int, Trial] = {}

    def verdict(self, job: Job) -> str | None:
        """Return why the run is to be ended now; None if it goes on."""
        number, now = self._trials.get(job.run_id), time.monotonic()
        if number is None or now - self._looked.get(job.run_id, -_PAUSE) < _PAUSE:
            return None
        self._looked[job.run_id] = now
        trial = self._handles.get(number) or self._handle(number)
        if (before := trial.user_attrs.get(PRUNED)) is not None:
            return str(before)
        for epoch, top1 in _scores(job).items():
            if epoch <= self._reported.get(job.run_id, 0) or epoch >= job.config.trainer.max_epochs:
                continue
            self._reported[job.run_id] = epoch
            trial.report(top1, epoch)
            if trial.should_prune():
                reason = f"its validation top1 of {top1:.4f} after epoch {epoch} is not among the best at that epoch"
                trial.set_user_attr(PRUNED, reason)  # first, as Optuna judges an epoch only once
                return reason
        return None

    def _handle(self, number: int) -> "Trial":
        from optuna.trial import Trial

        (found,) = (each for each in self._study.get_trials(deepcopy=False) if each.number == number)
        # of a trial that an earlier command began, there is no other way
        self._handles[number] = Trial(self._study, found._trial_id)
        return self._handles[number]


def _scores(job: Job) -> dict[int, float]:
    """Return the validation top1 after each epoch, as far as the run has come."""
    try:
        rows = read_curves(job.folder / CURVES)
    except RunError:  # none yet, or it is being replaced
        return {}
    return {int(row["epoch"]): float(row["value"]) for row in rows if (row["split"], row["metric"]) == ("val", "top1")}
