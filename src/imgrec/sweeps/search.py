"""Implement sweep=optuna: Optuna proposes runs. A repeated command continues the search.

Trials are stored in optuna.db in the sweep's folder. A trial's parameters are stored before its run begins, so that an
interrupted trial is continued with the same run. The record of the run has the result.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from imgrec.config.compose import compose
from imgrec.config.overrides import given
from imgrec.errors import RunError, UsageError, interruption_in, sentence
from imgrec.sweeps import pruning
from imgrec.sweeps.jobs import Jobs, SweepJob, note_pruned, objective
from imgrec.sweeps.live_view import LiveView
from imgrec.sweeps.search_space import example, examples, last_of_each, searched, space_of, word_of
from imgrec.sweeps.strategies.optuna import Optuna
from imgrec.sweeps.strategy import Ahead, Forecast, Runs

if TYPE_CHECKING:
    from types import ModuleType

    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, Trial

STORAGE = "optuna.db"

_BEGUN = "begun"  # attribute of a trial: its parameters are known, and its run may have started
_SPACE, _RETIRED = "space", "retired"  # of the study: what is searched; failed trials whose runs were repeated
_REFUSED = "refused"  # of the study: trials that proposed an invalid run

Result = float | Literal["pruned"] | None
"""The validation top1 of a trial's run, that the run was ended early, or None for a failure."""
Launch = Callable[["Study", Sequence[Sequence[str]], Sequence[int]], Sequence[Result]]
"""Carry out the runs of these overrides, and return their results. Those of numbered trials may be ended early."""


class Search:
    """A `sweep.strategy.Strategy`: Optuna proposes the runs."""

    def __init__(self, sweep: Optuna) -> None:
        self._sweep = sweep

    def planned(self, words: Sequence[str], jobs: Jobs) -> list[SweepJob]:
        """Return one run of the search space."""
        return [jobs.job(example(words))]

    def forecast(self, words: Sequence[str], jobs: Jobs) -> Forecast:
        """Return the trials that are left, as runs of the listed choices in turn, at the middle of each interval."""
        ended = _ended_in(jobs.sweep)
        left = max(0, self._sweep.trials - ended)
        like = [jobs.job(run) for run in examples(words)]
        unknown = ["Optuna decides which values the trials have; each listed choice counts as equally frequent"]
        if self._sweep.pruner != "none":
            unknown.append(f"sweep.pruner={self._sweep.pruner} ends trials early, which all count as whole")
        return Forecast(
            phases=[Ahead(like=[like[number % len(like)] for number in range(left)])], finished=ended, unknown=unknown
        )

    def run(self, runs: Runs) -> None:
        """Carry out trials, see `search`."""

        def launch(study: "Study", overrides: Sequence[Sequence[str]], numbers: Sequence[int]) -> list[Result]:
            wanted = [runs.jobs.job(words) for words in overrides]
            known = study.get_trials(deepcopy=False)
            for job, number in zip(wanted, numbers, strict=False):
                if (reason := known[number].user_attrs.get(pruning.PRUNED)) is not None:
                    _end_early(job, str(reason))
            going = [job for job in wanted if _result(job) != "pruned"]  # one that was ended early is not resumed
            for _ in range(len(wanted) - len(going)):
                runs.view.pruned()
            trials = {job.run_id: number for job, number in zip(wanted, numbers, strict=bool(numbers))}
            runs.finish(going, "trials", pruning.Judge(study, trials) if self._sweep.pruner != "none" else None)
            return [_result(job) for job in wanted]

        search(runs.words, self._sweep, runs.folder, launch, runs.view, at_a_time=runs.at_a_time)


def _end_early(job: SweepJob, reason: str) -> None:
    """Say in the record of an interrupted run that it is ended, if an earlier command could not do so any more."""
    record = job.record()
    if record is not None and record.status == "interrupted" and not record.is_pruned:
        note_pruned(job.folder, reason)


def _result(job: SweepJob) -> Result:
    record = job.record()
    if record is not None and record.is_pruned:
        return "pruned"
    return objective(record) if record is not None and record.status == "finished" else None


def search(
    words: Sequence[str], sweep: Optuna, folder: Path, launch: Launch, view: LiveView, *, at_a_time: int
) -> None:
    """Carry out trials until `sweep.trials` have ended, including those of earlier commands.

    A trial's value is the validation top1 of its run. A failed run is a failed trial, and the search goes on.

    Raises:
        RunError: Optuna is not installed.
        UsageError: The folder has a search of another space.
    """
    study = _study(words, sweep, folder)
    space = space_of(words)
    fixed = [str(override.input_line) for override in last_of_each(words) if override.get_key_element() not in space]
    if given(fixed, "test") is None:
        fixed.append("test=false")

    def run_of(trial: "FrozenTrial | Trial") -> list[str]:
        """Return the overrides of a trial's run, with the present command's values, as the images may have moved."""
        return [*fixed, *(f"{key}={word_of(trial.params[key], space[key])}" for key in space)]

    view.expect(sweep.trials)
    for _ in study.user_attrs.get(_REFUSED, []):
        view.refused()
    _take_in(study, launch, run_of, view)
    while (left := sweep.trials - len(_ended(study))) > 0:
        batch = _cut_off(study)[:left]
        while len(batch) < min(at_a_time, left):
            batch.append(_ask(study, space))
        possible = [trial for trial in batch if _composes(study, trial, run_of(trial), view)]
        numbers = [trial.number for trial in possible]
        returns = launch(study, [run_of(trial) for trial in possible], numbers) if possible else []
        for number, result in zip(numbers, returns, strict=True):
            _tell(study, number, result)
    _say_best(study, view)


def _ended_in(folder: Path) -> int:
    """Return the number of trials that have ended in an earlier search of this folder, which stays as it is."""
    path = (folder / STORAGE).resolve()
    if not path.is_file():
        return 0
    optuna = _optuna()
    storage = optuna.storages.RDBStorage(
        f"sqlite:///file:{quote(str(path))}?mode=ro&uri=true", skip_table_creation=True
    )
    return len(_ended(optuna.load_study(storage=storage, study_name="imgrec")))


def _optuna() -> "ModuleType":
    """Return the package optuna.

    Raises:
        RunError: It is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise RunError(
            "sweep=optuna needs the package optuna, which is not installed; in the clone, pip install -e '.[search]',"
            " or choose sweep=grid"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _study(words: Sequence[str], sweep: Optuna, folder: Path) -> "Study":
    optuna = _optuna()
    path = (folder / STORAGE).resolve()
    try:
        study: Study = optuna.create_study(
            storage=f"sqlite:///{path}", study_name="imgrec", direction="maximize", load_if_exists=True
        )
        study.get_trials(deepcopy=False)  # reads the whole file
    except Exception as error:  # from Optuna, SQLAlchemy or SQLite
        if cut := interruption_in(error):
            raise cut from None
        raise RunError(
            f"{path} must be a study that Optuna wrote, got {sentence(error).partition(' [SQL')[0]}; restore it, or"
            " remove it: the search begins anew then, and its finished runs count where they are proposed again"
        ) from error
    # a sampler with the same seed would propose the first trials again
    study.sampler = optuna.samplers.TPESampler(seed=sweep.sampler_seed + len(study.trials), constant_liar=True)
    what = searched(words)
    if study.user_attrs.get(_SPACE, what) != what:
        raise UsageError(
            f"{folder} holds a search for {' '.join(study.user_attrs[_SPACE])}, and this one is for {' '.join(what)};"
            " give another hydra.sweep.dir"
        )
    study.set_user_attr(_SPACE, what)
    study.pruner = pruning.pruner_of(sweep)
    return study


def _take_in(study: "Study", launch: Launch, run_of: "Callable[[FrozenTrial], list[str]]", view: LiveView) -> None:
    """Add the runs of earlier trials to the sweep. Failed runs are reported again, or tried again on request."""
    from optuna.trial import TrialState, create_trial

    refused = study.user_attrs.get(_REFUSED, [])
    ended = []
    for trial in _ended(study):
        if trial.state == TrialState.PRUNED:
            view.pruned()
        elif trial.number not in refused:
            ended.append(trial)
    if not ended:
        return
    retired = list(study.user_attrs.get(_RETIRED, []))
    for trial, result in zip(ended, launch(study, [run_of(trial) for trial in ended], []), strict=True):
        if trial.state == TrialState.FAIL and isinstance(result, float):
            study.add_trial(
                create_trial(
                    params=trial.params,
                    distributions=trial.distributions,
                    value=result,
                    user_attrs=trial.user_attrs,
                )
            )
            retired.append(trial.number)
            study.set_user_attr(_RETIRED, retired)


def _ask(study: "Study", space: "dict[str, BaseDistribution]") -> "Trial":
    trial = study.ask(space)
    trial.set_user_attr(_BEGUN, True)
    return trial


def _composes(study: "Study", trial: "FrozenTrial | Trial", words: Sequence[str], view: LiveView) -> bool:
    """Return True if the proposal is a valid run. An invalid one becomes a failed trial."""
    try:
        compose(words)
    except UsageError as error:
        if cut := interruption_in(error):
            raise cut from None
        view.say(f"search: trial {trial.number} proposed what cannot be: {error}")
        view.refused()
        study.set_user_attr(_REFUSED, [*study.user_attrs.get(_REFUSED, []), trial.number])
        _tell(study, trial.number, None)
        return False
    return True


def _ended(study: "Study") -> "list[FrozenTrial]":
    """Return the trials that count: all but those interrupted before their run, and failed ones that were repeated."""
    retired = study.user_attrs.get(_RETIRED, [])
    return [
        trial
        for trial in study.trials
        if trial.state.is_finished() and _BEGUN in trial.user_attrs and trial.number not in retired
    ]


def _cut_off(study: "Study") -> "list[Any]":
    """Return the trials that an earlier command left running, which are to be continued."""
    from optuna.trial import TrialState

    left = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _BEGUN in trial.user_attrs:
            left.append(trial)
        else:
            study.tell(trial.number, state=TrialState.FAIL)
    return left


def _tell(study: "Study", number: int, result: Result) -> None:
    from optuna.trial import TrialState

    if result is None:
        study.tell(number, state=TrialState.FAIL)
    elif result == "pruned":
        study.tell(number, state=TrialState.PRUNED)
    else:
        study.tell(number, result)


def _say_best(study: "Study", view: LiveView) -> None:
    from optuna.trial import TrialState

    if study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        best = study.best_trial
        chosen = " ".join(f"{key}={word_of(value, best.distributions[key])}" for key, value in best.params.items())
        view.say(
            f"search: the best of {len(_ended(study))} trials: {chosen} with a validation top1 of {best.value:.4f}"
        )
