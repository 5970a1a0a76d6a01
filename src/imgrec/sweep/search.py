"""sweep=optuna: Optuna proposes runs, and goes on where it was when the command is given again.

Trials lie in optuna.db in the sweep's folder. A trial keeps the words of its run from before the run begins, so one
that was cut off is carried on as the run that it was; what counts is the record of the run.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.utils import JobReturn

from imgrec.config.compose import given, key_of
from imgrec.config.sweep import Optuna
from imgrec.errors import RunError, UsageError

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, Trial

STORAGE = "optuna.db"

_WORDS = "words"  # a trial's attribute: its run
_SPACE = "space"  # the study's attribute: what is searched
_STEERING = ("sweep", "launcher", "hydra")  # words that say how, not what

Launch = Callable[[Sequence[Sequence[str]]], Sequence[JobReturn]]
Say = Callable[[str], None]


def search(words: Sequence[str], sweep: Optuna, folder: Path, launch: Launch, say: Say, *, at_a_time: int) -> None:
    """Carry out trials until there are `sweep.trials` that ended, those of earlier starts included.

    A trial's value is its run's validation top1; one whose run failed has failed, and ends nothing.
    Raises RunError without Optuna, UsageError for another space than the folder's.
    """
    study = _study(words, sweep, folder)
    space = _space(words)
    fixed = [text for text in words if key_of(text) not in space]
    if given(fixed, "test") is None:
        fixed.append("test=false")
    while (left := sweep.trials - len(_ended(study))) > 0:
        batch = _cut_off(study)
        while len(batch) < min(at_a_time, left):
            batch.append(_ask(study, fixed, space))
        returns = launch([list(each.user_attrs[_WORDS]) for each in batch])
        for each, returned in zip(batch, returns, strict=True):
            _tell(study, each.number, returned.return_value)
    _say_best(study, say)


def example(words: Sequence[str]) -> list[str]:
    """The words of one run out of the space: the first of each list, the low end of each interval.

    Raises UsageError for words that search nothing.
    """
    parsed = _parsed(words)
    if not any(override.is_sweep_override() for override in parsed):
        raise UsageError("sweep=optuna needs something to search: give key=interval(0.1,10), or key=a,b,c")
    return [f"{override.get_key_element()}={_first(override)}" for override in parsed]


def _study(words: Sequence[str], sweep: Optuna, folder: Path) -> "Study":
    try:
        import optuna
    except ImportError as error:
        raise RunError(
            "sweep=optuna needs the package optuna, which is not installed; pip install 'imgrec[search]', or choose"
            " sweep=grid"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = (folder / STORAGE).resolve()
    study = optuna.create_study(
        storage=f"sqlite:///{path}", study_name="imgrec", direction="maximize", load_if_exists=True
    )
    # a sampler that began anew with the same seed would propose the first trials again
    study.sampler = optuna.samplers.TPESampler(seed=sweep.sampler_seed + len(study.trials), constant_liar=True)
    space = [text for text in words if key_of(text).partition(".")[0] not in _STEERING]
    if study.user_attrs.get(_SPACE, space) != space:
        raise UsageError(
            f"{folder} holds a search for {' '.join(study.user_attrs[_SPACE])}, and this one is for {' '.join(space)};"
            " give another hydra.sweep.dir"
        )
    study.set_user_attr(_SPACE, space)
    return study


def _space(words: Sequence[str]) -> "dict[str, BaseDistribution]":
    swept = [override for override in _parsed(words) if override.is_sweep_override()]
    return {override.get_key_element(): _distribution(override) for override in swept}


def _distribution(override: Override) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value: Any = override.value()
    match value:
        case IntervalSweep():
            log = "log" in value.tags
            low, high = value.start, value.end
            if isinstance(low, int) and isinstance(high, int):
                return IntDistribution(low, high, log=log)
            return FloatDistribution(float(low or 0), float(high or 0), log=log)
        case RangeSweep() if all(isinstance(number, int) for number in (value.start, value.stop, value.step)):
            numbers = [int(text) for text in override.sweep_string_iterator()]
            return IntDistribution(min(numbers), max(numbers), step=abs(int(value.step)))
    return CategoricalDistribution(list(override.sweep_string_iterator()))


def _first(override: Override) -> str:
    value: Any = override.value()
    if isinstance(value, IntervalSweep):
        return str(value.start)
    if override.is_sweep_override():
        return next(iter(override.sweep_string_iterator()))
    return str(override.get_value_element_as_str())


def _parsed(words: Sequence[str]) -> list[Override]:
    return list(OverridesParser.create().parse_overrides(list(words)))


def _ask(study: "Study", fixed: Sequence[str], space: "dict[str, BaseDistribution]") -> "Trial":
    trial = study.ask(space)
    trial.set_user_attr(_WORDS, [*fixed, *(f"{key}={trial.params[key]}" for key in space)])
    return trial


def _ended(study: "Study") -> "list[FrozenTrial]":
    """The trials that count: not those that were cut off before they had a run."""
    return [trial for trial in study.trials if trial.state.is_finished() and _WORDS in trial.user_attrs]


def _cut_off(study: "Study") -> "list[Any]":
    """The trials that an earlier start left running, to be carried on."""
    from optuna.trial import TrialState

    left = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _WORDS in trial.user_attrs:
            left.append(trial)
        else:
            study.tell(trial.number, state=TrialState.FAIL)
    return left


def _tell(study: "Study", number: int, value: float | None) -> None:
    from optuna.trial import TrialState

    if value is None:
        study.tell(number, state=TrialState.FAIL)
    else:
        study.tell(number, value)


def _say_best(study: "Study", say: Say) -> None:
    from optuna.trial import TrialState

    if study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        best = study.best_trial
        chosen = " ".join(f"{key}={value}" for key, value in best.params.items())
        say(f"search: the best of {len(_ended(study))} trials: {chosen} with a validation top1 of {best.value:.4f}")
