"""Show the state of each run of a sweep on stderr: a live view on a terminal, else line by line."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Literal

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from imgrec.job import Job
from imgrec.records import Record
from imgrec.summary import headline, progress_of
from imgrec.sweeps.jobs import State, objective, reason_of
from imgrec.untrusted_text import visible

_SECONDS = 0.5  # between two updates of the live view
_BRIEF = 100  # characters of a reason while other runs go on; the whole reason is printed at the end
_DONE = ("finished", "failed", "refused", "pruned")
_LEFT = ("running", "queued", "to resume", "to retry", "to do")

Kind = Literal["runs", "runs that tune", "trials"]
_ONE: dict[Kind, str] = {"runs": "run", "runs that tune": "run that tunes", "trials": "trial"}


class _Console(Console):
    """A console that becomes quiet when its reader has closed the pipe (`imgrec train -m ... 2>&1 | head`).

    A closed pipe does not end the sweep.
    """

    def on_broken_pipe(self) -> None:
        self.quiet = True


class LiveView:
    """Count the runs by their state, and print changes."""

    def __init__(self) -> None:
        self._console = _Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._processes = 1
        self._opened = 0
        self._expected = 0
        self._trials = False
        self._names: list[str] = []
        self._running: dict[str, Job] = {}
        self._places: dict[str, str] = {}
        self._seconds: list[float] = []
        self._best: tuple[float, str] | None = None
        self._counts: Counter[str] = Counter()
        self._tolerant = False
        self.failures: dict[str, str] = {}
        self.without_runs: dict[str, str] = {}

    def expect(self, total: int) -> None:
        """Set the total number of runs, including runs that are not known yet."""
        self._expected = total

    def open(
        self, jobs: Sequence[tuple[Job, State]], kind: Kind, *, processes: int, retry: bool, repeated: int = 0
    ) -> None:
        """Add jobs, and print how many of them are in which state.

        Args:
            jobs: The jobs with their states.
            kind: A failure of a run that tunes is not counted as a failure of the sweep. Trials come in batches; all
                expected trials are printed with the first batch.
            processes: The number of runs at a time.
            retry: True if failed runs are tried again.
            repeated: The number of expected runs that were added earlier.
        """
        self._processes, self._tolerant, self._trials = processes, kind == "runs that tune", kind == "trials"
        told = self._trials and self._opened > 0
        counts = Counter(finished=repeated)
        for job, state in jobs:
            counts["to retry" if state == "failed" and retry else state] += 1
            record = job.record() if state == "finished" else None
            if record is not None:
                self._take(job, record)
            if state == "failed" and not retry:
                self._fail(job, reason_of(job))
        self._opened += len(jobs) + repeated
        self._names += [job.name for job, _ in jobs]
        self._counts["finished"] += counts["finished"]
        if self._trials:
            counts["refused"], counts["pruned"] = self._counts["refused"], self._counts["pruned"]
            counts["to do"] += max(0, self.total - self._opened - counts["refused"] - counts["pruned"])
        if not told:
            self._tell(counts, kind)

    def began(self, job: Job, where: str | None = None) -> None:
        self._running[job.run_id] = job
        self._places[job.run_id] = f"  ({where})" if where else ""
        if not self._console.is_terminal:
            self.say(f"[{self._done}/{self.total}] running   {job.name}{self._places[job.run_id]}")

    def ended(self, job: Job, reason: str | None = None) -> None:
        """Note the end of a run.

        Args:
            job: The run.
            reason: The reason of a failure; None for a finished run.
        """
        self._running.pop(job.run_id, None)
        if reason is None:
            record = job.record()
            assert record is not None, job.folder
            self._take(job, record)
            self._counts["finished"] += 1
            left = self.total - self._done
            note = "  ".join(filter(None, (headline(record, validation=True), self._time_left(left) if left else None)))
            self.say(f"[{self._done}/{self.total}] finished  {job.name}  {note}")
        else:
            self._fail(job, reason)
            brief = reason if len(reason) <= _BRIEF else f"{reason[:_BRIEF]} ..."
            self.say(f"[{self._done}/{self.total}] failed    {job.name}: {brief}")

    def pruned(self, job: Job | None = None, reason: str = "") -> None:
        """Note that a search has ended a trial early; without a run, that an earlier command has."""
        self._counts["pruned"] += 1
        if job is not None:
            self._running.pop(job.run_id, None)
            self.say(f"[{self._done}/{self.total}] pruned    {job.name}: {reason}")

    def refused(self) -> None:
        """Note that one of the expected runs is invalid. This is no failure of the sweep."""
        self._counts["refused"] += 1

    def lost(self, name: str, reason: str) -> None:
        """Note that a choice has no runs."""
        self.without_runs[name] = reason

    def cut(self, job: Job, reason: str | None = None) -> None:
        """Note that a run was interrupted and can be resumed.

        Args:
            job: The run.
            reason: What interrupted it; None where the sweep as a whole is ended.
        """
        self._running.pop(job.run_id, None)
        self._counts["to resume"] += 1
        if reason is not None:
            self.say(f"[{self._done}/{self.total}] interrupted  {job.name}: {reason}")

    def left(self, job: Job, *, queued: bool) -> None:
        """Note that a run goes on elsewhere after this command's end.

        Args:
            job: The run.
            queued: True if it waits for its turn there.
        """
        self._running.pop(job.run_id, None)
        self._counts["queued" if queued else "running"] += 1

    def returned(self, job: Job, reason: str) -> None:
        """Note that a run ended for a reason of its machine, and will be carried out again."""
        self._running.pop(job.run_id, None)
        self.say(f"[{self._done}/{self.total}] given back  {job.name}: {reason}")

    def tell_standing(self) -> None:
        """Print how many runs are in which state, and the failures, when the sweep ends early."""
        if self._opened:
            self._tell(self._counts + Counter({"to do": self.to_do}), "trials" if self._trials else "runs")
            self.tell_failures()

    def tell_failures(self) -> None:
        """Print the reason for each failed run, and for each choice without runs."""
        for name, reason in (*self.failures.items(), *self.without_runs.items()):
            self.say(f"failed: {name}: {reason}")

    @property
    def total(self) -> int:
        """The number of known or expected runs."""
        return max(self._opened, self._expected)

    @property
    def to_resume(self) -> int:
        """The number of interrupted runs."""
        return self._counts["to resume"]

    @property
    def elsewhere(self) -> int:
        """The number of runs that go on elsewhere after this command's end."""
        return self._counts["running"] + self._counts["queued"]

    @property
    def to_do(self) -> int:
        """The number of runs that have not started."""
        return max(0, self.total - self._done - self.to_resume - self.elsewhere)

    def say(self, line: str) -> None:
        try:
            self._console.print(Text(visible(" ".join(line.splitlines()))))
        except OSError:  # a full disk under a log must not end the sweep
            self._console.quiet = True

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Update the view while the block runs, if stderr is a terminal."""
        if not self._console.is_terminal:
            yield
            return
        with Live(get_renderable=self._view, console=self._console, refresh_per_second=1 / _SECONDS, transient=True):
            yield

    @property
    def _done(self) -> int:
        return sum(self._counts[state] for state in _DONE)

    def _tell(self, counts: Counter[str], kind: Kind) -> None:
        parts = [f"{counts[state]} {state}" for state in (*_DONE, *_LEFT) if counts[state]]
        left = sum(counts[state] for state in _LEFT)
        if left and (time_left := self._time_left(left)):
            parts.append(time_left)
        if total := counts.total():
            self.say(f"{total} {_ONE[kind] if total == 1 else kind}: {', '.join(parts)}")

    def _fail(self, job: Job, reason: str) -> None:
        self._counts["failed"] += 1
        if not self._tolerant:
            self.failures[str(job.folder) if job.folder.is_dir() else job.name] = reason

    def _take(self, job: Job, record: Record) -> None:
        if "seconds" in record.cost:
            self._seconds.append(float(record.cost["seconds"]))
        score = objective(record)
        if score is not None and (self._best is None or score > self._best[0]):
            self._best = (score, job.name)

    def _time_left(self, left: int) -> str | None:
        """Return the remaining time, estimated from the mean time of the finished runs; None if there are none."""
        if not self._seconds:
            return None
        seconds = sum(self._seconds) / len(self._seconds) * left / min(self._processes, left)
        return f"about {spoken(seconds)}"

    def _view(self) -> Group:
        left = self.total - self._done
        parts = [f"{self._done} of {self.total} runs done", f"{len(self._running)} running"]
        if self.failures:
            parts.append(f"{len(self.failures)} failed")
        if left and (time_left := self._time_left(left)):
            parts.append(f"{time_left} left")
        if self._best:
            parts.append(f"best val top1 {self._best[0]:.4f} {_without(self._shared, self._best[1])}")
        running = list(self._running.values())  # a copy, as the main thread changes the dictionary
        lines = [Text(visible(self._line(job))) for job in running]
        return Group(Text("  ".join(parts), style="bold"), *lines)

    def _line(self, job: Job) -> str:
        return f"  {job.name}  {progress_of(job.folder, job.config.trainer.max_epochs)}{self._places[job.run_id]}"

    @property
    def _shared(self) -> str:
        """The words with which the names of all runs begin."""
        words = zip(*(name.split("_") for name in self._names), strict=False)
        return "_".join(same[0] for same in takewhile(lambda each: len(set(each)) == 1, words))


def _without(shared: str, name: str) -> str:
    return name.removeprefix(f"{shared}_") if shared else name


def spoken(seconds: float) -> str:
    """Return a duration in words, in its largest suitable unit."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}s"
    return f"{max(1, round(seconds))} second{'s' if round(seconds) > 1 else ''}"
