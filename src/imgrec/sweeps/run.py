"""Run `imgrec train -m` or a study: carry out every run once, also after interruptions.

The records in the runs' folders decide what is left to do.
"""

import re
import time
from collections.abc import Sequence
from pathlib import Path

from imgrec import (
    codechange,
    hydra_runtime,
    launch,
    preflight,
    ranks,
    run_lookup,
    runfolder,
    runlog,
    text_files,
)
from imgrec.config import listed, outside
from imgrec.config.compose import of_study
from imgrec.config.listed import LISTS
from imgrec.config.overrides import given, key_of, literal
from imgrec.errors import Interrupted, RunError, UsageError, interruption_in, shown
from imgrec.job import Job
from imgrec.records import Record
from imgrec.runfolder import SWEEP_LOCK
from imgrec.sweeps import asked, command_words, estimate, partial, pool
from imgrec.sweeps.jobs import PATIENCE, Jobs, SweepJob, deaths, each_once, state
from imgrec.sweeps.like_runs import Known
from imgrec.sweeps.live_view import Kind, LiveView
from imgrec.sweeps.watch import Judge, StoppedError, Watch
from imgrec.training.interruption import Interruption, requeue

_MANY = 1024  # more than any launcher carries out at a time
_WATCHED = 2  # unexplained ends after which a run gets its own process, which shows whether the run itself caused them


class Sweep:
    """The runs of a study, or of `-m`.

    Nothing is written before `run`. Several threads of a process create and carry out their sweeps one after the other.

    Raises:
        UsageError: The overrides are invalid.
    """

    @runfolder.in_turn()
    def __init__(self, overrides: Sequence[str]) -> None:
        ranks.refuse_several("imgrec train -m")
        outside.load()
        overrides = literal(overrides, several=True)
        hydra_runtime.refuse_place()
        command_words.refuse_keys(overrides)
        study = of_study(overrides) or []
        words = [*study, *overrides]
        self.words: Sequence[str] = [text for text in words if not key_of(text).startswith("hydra.")]
        command_words.refuse_lists(words)
        partial.refuse(overrides, study)
        self._config = command_words.first(words)
        partial.refuse(overrides, study, self._config.sweep.tries)
        if self._config.trainer.fast_dev_run:
            raise UsageError(
                "trainer.fast_dev_run tries one run out, and a sweep asks for several; leave out one of the two"
            )
        if self._config.sweep.ends_runs_early and not self._config.launcher.ends_early:
            raise UsageError(
                f"sweep.pruner needs a launcher that can end one run of several, and"
                f" launcher={self._config.launcher.name} cannot; give launcher=pool (launcher.processes=1 for one run"
                " at a time), or sweep.pruner=none"
            )
        named = given(words, "hydra.sweep.dir")
        self.folder = hydra_runtime.plain_path("hydra.sweep.dir", named) if named else run_lookup.group(self._config)
        self._known = Path(self._config.sweep.known).expanduser() if self._config.sweep.known else None
        self._multirun = hydra_runtime.of_sweep(overrides)
        self.jobs = Jobs(self.folder, command_words.varied(words, self._config), self._known)
        self._asked: dict[str, SweepJob] = {}
        self._has_listed = False
        self._interruption = Interruption()
        self.view = LiveView()
        self._launcher = self._config.launcher.build()
        self._strategy = self._config.sweep.build()
        self._warned: set[str] = set()
        self._judged: set[str] = set()
        self._told_of_code = False
        with runlog.shown():
            planned = self._strategy.planned(words, self.jobs)
        listed.refuse_idle(words, {axis: self._listed(axis, words, planned) for axis in LISTS})
        self._code_warning = self._judge_code(planned)
        chooses = f"sweep={self._config.sweep.name}" if self._config.sweep.chooses else None
        for job in planned:
            record = job.record()
            if record is None or record.status != "finished":
                begun = runfolder.newest_state(job.folder) is not None
                preflight.check(
                    *(job.config, job.seen, job.folder),
                    chooses=chooses,
                    begun=begun,
                    elsewhere=self._config.launcher.elsewhere,
                )

    @staticmethod
    def _listed(axis: str, words: Sequence[str], planned: Sequence[SweepJob]) -> set[str]:
        """Return the names that a list holds in any of the runs, as far as words or known runs tell."""
        given = [name for text in words if key_of(text) == LISTS[axis] for name in re.findall(r"\w+", text)]
        return {*given, *(name for job in planned for name in getattr(job.config, axis))}

    @property
    def outcomes(self) -> list[tuple[Path, Record]]:
        """The folders and records of the requested runs that have a record, in the order of the grid."""
        found = [(job.folder, job.record()) for job in self._asked.values()]
        return [(folder, record) for folder, record in found if record is not None]

    @property
    def complete(self) -> bool:
        """True if each run has finished or failed."""
        return not (self.view.to_do or self.view.to_resume or self.view.elsewhere)

    @property
    def is_estimate(self) -> bool:
        """True if the command asks what the sweep costs, and not for its runs."""
        return self._config.sweep.estimate

    @runfolder.in_turn()
    def estimate(self) -> str:
        """Return what the sweep costs, in lines of text. Nothing is carried out or written.

        Raises:
            RunError: A run that is measured fails.
        """
        forecast = self._strategy.forecast(self.words, self.jobs)
        return estimate.told(forecast, self._config, self._launcher, Known(self.folder, self._known))

    @runfolder.in_turn()
    def run(self) -> None:
        """Carry out what is left to do.

        Raises:
            RunError: A run has failed.
            Interrupted: The process was asked to end.
        """
        runfolder.prepare(self.folder)
        self._tell_of_code(self._code_warning)
        if self._config.sweep.known is not None:
            self.view.say(f"{shown(self._config.sweep.known)} holds {self.jobs.known} finished runs")
        try:
            with self._interruption.watched(), runfolder.lock(self.folder, SWEEP_LOCK), runlog.shown():
                try:
                    self._finish_all()
                finally:
                    launch.show_on_board(self.folder, test=self.complete)
        except (Exception, Interrupted) as error:
            cut = interruption_in(error)
            if cut is None and not isinstance(error, StoppedError):
                raise
            self.view.tell_standing()
            if cut is None:
                raise
            requeue(cut)
            raise cut from None
        self._raise_failures()

    def _finish_all(self) -> None:
        """Store the request, and carry out its runs."""
        with runlog.refusing_disk():
            text_files.write_text(self.folder / "multirun.yaml", self._multirun)
            self._strategy.run(self)

    @property
    def at_a_time(self) -> int:
        """The number of runs that the launcher carries out at a time."""
        return self._launcher.at_a_time([self._config] * _MANY)

    def _judge_code(self, jobs: Sequence[SweepJob]) -> str | None:
        """Return a warning about those of the runs that other code has made, without runs that were checked before.

        Raises:
            RunError: The key `code` refuses such runs.
        """
        running = [] if self._config.launcher.elsewhere else ["running"]  # elsewhere they go on with their own code
        left = (*running, "interrupted", *(["failed"] if self._config.sweep.retry_failed else []))
        new = [job for job in each_once(jobs) if job.run_id not in self._judged]
        self._judged.update(job.run_id for job in new)
        found = [(job.folder, record) for job in new if (record := job.record()) is not None]
        return codechange.of_sweep(
            [record for _, record in found if record.status == "finished"],
            [(folder, record) for folder, record in found if record.status in left and runfolder.has_state(folder)],
            self._config.code,
            total=len(new),
        )

    def _tell_of_code(self, warning: str | None) -> None:
        """Print the warning once for the sweep. Later runs of a search or a tuning have the same code."""
        if warning is not None and not self._told_of_code:
            self._told_of_code = True
            self.view.say(warning)

    def finish(self, wanted: Sequence[SweepJob], kind: Kind, judge: Judge | None = None) -> None:
        """Carry out those of the runs that have not finished; see `strategy.Runs`.

        Raises:
            Interrupted: The process was asked to end.
        """
        jobs = each_once(wanted)
        asked.note(self.folder, jobs, anew=not self._has_listed)
        self._has_listed = True
        if adopted := sum(job.adopt() for job in jobs):
            self.view.say(f"{adopted} finished in {shown(str(self._config.sweep.known))}: their records are copied")
        self._tell_of_code(self._judge_code(jobs))
        # a launcher of other machines finds the runs that go on there
        until = time.monotonic() + (0.0 if self._config.launcher.elsewhere else PATIENCE)
        states = {job.run_id: state(job, until=until) for job in jobs}
        if kind != "runs that tune":
            self._asked.update({job.run_id: job for job in jobs})
        sweep = self._config.sweep
        left = ("running", "to resume", "to do", *(["failed"] if sweep.retry_failed else []))
        todo = sorted((job for job in jobs if states[job.run_id] in left), key=deaths)
        self.view.open(
            [(job, states[job.run_id]) for job in jobs],
            kind,
            processes=self._launcher.at_a_time([job.config for job in todo]) if todo else 1,
            retry=sweep.retry_failed,
            repeated=len(wanted) - len(jobs) if self._config.sweep.proposes else 0,
        )
        self._warn_of_hardware(todo)
        stops = sweep.on_error == "stop" and kind != "runs that tune"
        apart = [job for job in todo if deaths(job) >= _WATCHED] if self._config.launcher.in_process else []
        self._tell_deaths(todo, apart)
        watch = Watch(self.view, self._interruption, stops_at_failure=stops, cancels=sweep.cancel, judge=judge)
        if todo:
            with self.view.shown():
                self._launcher.run(todo[: len(todo) - len(apart)], watch)
                for job in apart:
                    if not watch.stop:
                        pool.alone(job, watch)
            self._interruption.raise_if_asked()
        if kind != "runs" and self.view.to_resume:
            raise RunError(
                f"{self.view.to_resume} to resume, whose scores decide about the runs to come; the same command goes on"
            )
        if stops:
            self._raise_failures()

    def _tell_deaths(self, todo: Sequence[Job], apart: Sequence[Job]) -> None:
        for job in todo:
            if (count := deaths(job)) > 0:
                since = "its last checkpoint" if runfolder.newest_state(job.folder) else "its start"
                times = "time" if count == 1 else "times"
                alone = ", in a process of its own, which shows how it ends" if job in apart else ""
                self.view.say(
                    f"{job.name}: its process ended without a word {count} {times} since {since}: it comes last{alone}"
                )

    def _warn_of_hardware(self, todo: Sequence[Job]) -> None:
        """Print once for the sweep the warning that each run writes into its train.log only."""
        if not todo or self._config.launcher.elsewhere:
            return
        from imgrec.environment import hardware_warnings  # imports torch

        found = [warning for job in todo for warning in hardware_warnings(job.config)]
        for warning in dict.fromkeys(found):
            if warning not in self._warned:
                self._warned.add(warning)
                self.view.say(warning)

    def _raise_failures(self) -> None:
        """Print the reason of each failure, and raise RunError if there is any, or a run to resume."""
        view = self.view
        failures, without = view.failures, view.without_runs
        if not failures and not without and not view.to_resume:
            return
        view.tell_failures()
        total = view.total if self._config.sweep.proposes else len(self._asked)
        said = []
        if failures:
            said.append(f"{len(failures)} of {total} run{'s' if total > 1 else ''} failed")
        if without:
            said.append(f"{len(without)} choice{'s have' if len(without) > 1 else ' has'} no runs")
        if view.to_resume:
            said.append(f"{view.to_resume} to resume")
        if view.to_do:
            said.append(f"{view.to_do} not begun")
        if not failures and not without:
            raise RunError(f"{', '.join(said)}; the same command goes on")
        ways = [
            "the same command",
            "" if self._config.sweep.retry_failed else "with sweep.retry_failed=true",
            "goes on, and" if view.to_resume or view.to_do else "",
            "tries again what failed",
        ]
        raise RunError(f"{', '.join(said)}; {' '.join(filter(None, ways))}")
