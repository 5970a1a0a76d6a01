"""Implement sweep=tuned: choose the values of each choice of a grid by validation scores, at equal budgets."""

from collections.abc import Sequence
from statistics import fmean

from imgrec import tuning_file
from imgrec.config.compose import expand
from imgrec.config.held_out import FOLD
from imgrec.config.overrides import key_of
from imgrec.errors import UsageError, sentence
from imgrec.sweeps import bases, tuning_steps
from imgrec.sweeps.jobs import Jobs, SweepJob, each_once, objective, reason_of
from imgrec.sweeps.live_view import LiveView
from imgrec.sweeps.strategies.tuned import TUNING_SEED
from imgrec.sweeps.strategies.tuned import Tuned as Asked
from imgrec.sweeps.strategy import Ahead, Forecast, Runs
from imgrec.tuning_file import Tuned, Words

_MOST_STEPS = 8  # beyond the ends of the values, until the best value is inside


class TunedGrid:
    """A `sweep.strategy.Strategy`: first the runs that try values, then the grid's runs with the chosen values."""

    def __init__(self, sweep: Asked) -> None:
        self._sweep = sweep

    def planned(self, words: Sequence[str], jobs: Jobs) -> list[SweepJob]:
        """Return the runs that try values."""
        return Tuning([jobs.job(job) for job in expand(words)], self._sweep, jobs).jobs

    def forecast(self, words: Sequence[str], jobs: Jobs) -> Forecast:
        """Return the runs that try values, then the grid's runs with the chosen values."""
        tuning = Tuning([jobs.job(job) for job in expand(words)], self._sweep, jobs)
        unknown = ["sweep.extend may try further values, up to 8 steps for each choice"] if self._sweep.extend else []
        return Forecast(phases=[Ahead(runs=tuning.jobs), tuning.finals()], unknown=unknown)

    def run(self, runs: Runs) -> None:
        """Carry out the sweep."""
        wanted = [runs.jobs.job(job) for job in expand(runs.words)]
        tuning = Tuning(wanted, self._sweep, runs.jobs)
        tuning.tell(runs.view)
        more = each_once(tuning.jobs)
        while more:
            runs.view.expect(len(each_once([*tuning.jobs, *wanted])))
            runs.finish(more, "runs that tune")
            more = tuning.extend(runs.view)
        wanted = tuning.settle(runs.view)
        runs.view.expect(len(each_once([*tuning.jobs, *wanted])))
        runs.finish(wanted, "runs")


class Tuning:
    """The runs that try values, and their results.

    A choice is the overrides of a run of the grid without its seed. Each choice tries every value with every tuning
    seed, and without a test. With `sweep.extend` it tries further values beyond an end.

    Raises:
        UsageError: The grid gives a key that is tuned, or a tuning seed.
        RunError: tuning.json is damaged.
    """

    def __init__(self, wanted: Sequence[SweepJob], sweep: Asked, jobs: Jobs) -> None:
        self._sweep, self._jobs, self._wanted = sweep, jobs, wanted
        before = tuning_file.read(jobs.sweep / tuning_file.NAME)  # refuses a damaged file before anything runs
        self._before = {row.choice: row for row in before}
        self._keys = {key_of(word) for word in sweep.tune}
        bases.check(sweep.bases, self._keys)
        self._words: dict[Words, Words] = {}
        self._tried: dict[Words, dict[Words, list[SweepJob]]] = {}
        self._unused = list(sweep.bases)
        folds = dict.fromkeys(word for job in wanted for word in job.command if key_of(word) == FOLD)
        if len(folds) > 1:
            raise UsageError(
                f"sweep=tuned chooses values by the validation images, and each fold has others, got"
                f" {', '.join(folds)}; tune with {next(iter(folds))} alone, and give all folds what it chose"
            )
        self._flattered: list[str] = []
        for job in wanted:
            if both := self._keys & {key_of(word) for word in job.command}:
                raise UsageError(
                    f"sweep.tune tries values of {', '.join(sorted(both))}, which the command gives; drop one"
                )
            choice = tuning_file.of(job.command)
            if both := {key_of(word) for word in self._base(job)} & {key_of(word) for word in choice}:
                raise UsageError(f"sweep.bases gives {', '.join(sorted(both))}, which the command gives; drop one")
            self._check_seed(job, choice)
            if choice not in self._tried:
                self._tried[choice] = {}
                words = tuple(word for word in job.command if key_of(word) != "seed")
                self._words[choice] = (*words, *self._base(job))
                for values in expand(sweep.tune):
                    self._try(choice, tuple(values))
        self._steps = dict.fromkeys(self._tried, 0)

    def tell(self, view: LiveView) -> None:
        """Print which parts of the request have no effect, and which final seeds were used for the tuning."""
        for base in self._unused:
            view.say(f"sweep.bases: {base!r} is of no run of this sweep")
        if self._flattered:
            view.say(
                f"tuning: {self._flattered[0]} is a seed of the tuning and a final one, as this folder was begun: its"
                " score is flattered by the choice"
            )

    @property
    def jobs(self) -> list[SweepJob]:
        """All known runs that try a value."""
        return [job for tried in self._tried.values() for runs in tried.values() for job in runs]

    def extend(self, view: LiveView) -> list[SweepJob]:
        """Return further runs of choices whose best value is at an end of the tried values; none if all are inside."""
        if not self._sweep.extend:
            return []
        more: list[SweepJob] = []
        for choice in self._tried:
            own = self._result(choice)
            if own.chosen is None or self._steps[choice] >= _MOST_STEPS:
                continue
            for values in self._beyond(own):
                try:
                    more += self._try(choice, values)
                except UsageError as error:
                    view.say(f"tuning: {self._name(choice)}: no value beyond {' '.join(own.chosen)}: {sentence(error)}")
                    self._steps[choice] = _MOST_STEPS
            self._steps[choice] += 1
        return more

    def finals(self) -> Ahead:
        """Return the grid's runs, with the chosen values where all tries of their choice have finished."""
        known, like = list[SweepJob](), list[SweepJob]()
        for job in self._wanted:
            choice = tuning_file.of(job.command)
            own = self._result(choice)
            settled = own.chosen is not None and None not in own.tried.values()
            values = own.chosen if settled and own.chosen is not None else next(iter(own.tried))
            (known if settled else like).append(self._jobs.job((*job.command, *self._base(job), *values)))
        return Ahead(runs=known, like=like)

    def settle(self, view: LiveView) -> list[SweepJob]:
        """Return the grid's runs with the best values of each choice. A choice whose tries have all failed has no runs.

        The highest mean validation top1 decides; of equal ones the first. tuning.json stores every value that was
        tried.
        """
        best: dict[Words, Words] = {}
        rows = dict(self._before)
        for choice, tried in self._tried.items():
            rows[choice] = own = self._result(choice)
            chosen, name = own.chosen, self._name(choice)
            runs = [job for each in tried.values() for job in each]
            failed = [job for job in runs if (record := job.record()) is None or record.status != "finished"]
            if chosen is None:
                why = reason_of(failed[0]) if failed else "their runs have no validation top1"
                view.lost(name, f"no value that was tried got through, so that it has no runs: {why}")
                continue
            if failed:
                view.say(
                    f"tuning: {name}: {len(failed)} of {len(runs)} tries failed and were passed over,"
                    f" the first in {failed[0].folder}: {reason_of(failed[0])}"
                )
            best[choice] = chosen
            view.say(f"tuning: {name}: {' '.join(chosen)} with a mean validation top1 of {own.tried[chosen]:.4f}")
            for word in own.at_an_end:
                way_out = "widen sweep.tune" if self._sweep.extend else "widen sweep.tune, or give sweep.extend=true"
                view.say(f"tuning: {name}: {word} is at an end of the values tried; {way_out}, a better may lie beyond")
        tuning_file.write(self._jobs.sweep / tuning_file.NAME, rows.values())
        finals = [job for job in self._wanted if tuning_file.of(job.command) in best]
        return [self._jobs.job((*job.command, *self._base(job), *best[tuning_file.of(job.command)])) for job in finals]

    def _seeds(self, choice: Words) -> tuple[int, ...]:
        """Return the given seeds, else the seeds of the choice's earlier tuning in this folder, else the default."""
        if self._sweep.tune_seeds is not None:
            return tuple(self._sweep.tune_seeds)
        return self._before[choice].seeds if choice in self._before else (TUNING_SEED,)

    def _check_seed(self, job: SweepJob, choice: Words) -> None:
        """Refuse a final seed that the tuning uses by default. Only warn if the folder was tuned with others."""
        if self._sweep.tune_seeds is not None or job.config.seed not in self._seeds(choice):
            return
        if job.config.seed == TUNING_SEED:
            raise UsageError(
                f"seed={job.config.seed} must be no seed of the tuning, whose choice it would flatter; give"
                " another, or sweep.tune_seeds"
            )
        self._flattered.append(f"seed={job.config.seed}")

    def _try(self, choice: Words, values: Words) -> list[SweepJob]:
        """Add the runs that try these values for a choice.

        Raises:
            UsageError: The values make no valid run.
        """
        words = (*self._words[choice], *values)
        runs = [self._jobs.job((*words, f"seed={seed}", "test=false")) for seed in self._seeds(choice)]
        self._tried[choice][values] = runs
        return runs

    def _base(self, job: SweepJob) -> Words:
        """Return the overrides of `sweep.bases` for this run's choice."""
        found: list[str] = []
        for base in self._sweep.bases:
            if words := bases.words_for(base, job):
                found += words
                if base in self._unused:
                    self._unused.remove(base)
        return tuple(found)

    def _means(self, choice: Words) -> dict[Words, float]:
        """Return the mean score over the seeds by values. Values with a failed run are left out."""
        means = {}
        for values, runs in self._tried[choice].items():
            found = [job.record() for job in runs]
            finished = [record for record in found if record is not None and record.status == "finished"]
            scores = [objective(record, at=self._sweep.tune_at) for record in finished]
            known = [score for score in scores if score is not None]
            if len(known) == len(runs):
                means[values] = fmean(known)
        return means

    def _result(self, choice: Words) -> Tuned:
        """Return the values that the choice tried, with the results of its finished runs."""
        means = self._means(choice)
        return Tuned(
            choice=choice,
            chosen=max(means, key=lambda values: means[values], default=None),
            seeds=self._seeds(choice),
            tried={values: means.get(values) for values in self._tried[choice]},
        )

    def _beyond(self, own: Tuned) -> list[Words]:
        """Return the chosen values with one of them moved one step beyond the end at which it is."""
        chosen, found = own.chosen or (), []
        for position, word in enumerate(chosen):
            if word in own.at_an_end and (more := tuning_steps.beyond(own.column(position), word)) is not None:
                found.append((*chosen[:position], more, *chosen[position + 1 :]))
        return [values for values in found if values not in own.tried]

    def _name(self, choice: Words) -> str:
        """Return the overrides that distinguish the choice from others."""
        return " ".join(word for word in choice if not all(word in other for other in self._tried)) or "the run"
