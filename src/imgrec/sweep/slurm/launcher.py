"""Implement launcher=slurm: submit the runs of a sweep, or attach to their jobs, and follow them until they end.

Records decide what is done; SLURM only says which jobs live. A run is submitted only if no job of it waits or runs, so
that a sweep that was killed, or that Ctrl-C has detached, goes on with the jobs that it left in the queue.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from imgrec import codebase, records, runfolder
from imgrec.config.root import Config
from imgrec.errors import RunError, shown
from imgrec.job import Job
from imgrec.records import Record
from imgrec.runfolder import RECORD
from imgrec.sweep.jobs import close_dead, reason_of, settled
from imgrec.sweep.launchers.slurm import Slurm as Settings
from imgrec.sweep.slurm import queue, submission
from imgrec.sweep.slurm.queue import QueueError, Task
from imgrec.sweep.watch import Watch

_ASKED = 5.0  # seconds between two questions to SLURM
_LOOK = 0.2  # seconds between two checks for a signal
_FORGET = 30.0  # seconds for a job to be listed, before it counts as forgotten
_MOST_STUCK = 3
_STUCK = "give launcher.time more than the start of a run takes, or a shorter launcher.signal"
_ALL = 10_000  # runs at a time, as far as a search asks
_TAIL = 2048  # bytes at the end of a log in which its last lines are looked for
_LINES = 3
_USUAL = ("", "Priority", "Resources", "JobArrayTaskLimit", "BeginTime", "Cleaning")  # reasons that pass by themselves


@dataclass(kw_only=True)
class _Followed:
    """A run and its job in SLURM.

    Attributes:
        job: The run.
        key: The token and the index of its submission.
        slurm_id: The id of its job, such as 123_4.
        before: The run's record before its job began.
        task: The job as SLURM last listed it; None before.
        runs: True while it is shown as running.
        unseen_since: When SLURM stopped listing it (time.monotonic); None while it is listed.
        ended_since: When it was first seen to have ended.
        pruned: Why the run is ended early; None if it is not.
        saved: The digest of its newest checkpoint when SLURM queued it again.
        stuck: How often SLURM has queued it again without a newer checkpoint.
    """

    job: Job
    key: tuple[str, int]
    slurm_id: str
    before: Record | None
    task: Task | None = None
    runs: bool = False
    unseen_since: float | None = None
    ended_since: float | None = None
    pruned: str | None = None
    saved: str | None = None
    stuck: int = 0

    def __str__(self) -> str:
        return str(self.task) if self.task is not None else f"SLURM job {self.slurm_id}"


class Slurm:
    """Carry out jobs on a SLURM cluster.

    Args:
        settings: What each job asks for.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._told = set[str]()

    def at_a_time(self, configs: Sequence[Config]) -> int:
        """Return the number of jobs at a time, as far as it is limited here; see `Launcher`."""
        return min(self._settings.array_parallelism or _ALL, max(1, len(configs)))

    def run(self, jobs: Sequence[Job], watch: Watch) -> None:
        """See `Launcher`. Signals are deferred: they leave the jobs in the queue, or cancel them.

        Raises:
            RunError: SLURM cannot be asked, or refuses the runs.
        """
        if not jobs:
            return
        sweep = jobs[0].folder.absolute().parent
        with watch.deferred():
            submission.wait_for_others(sweep)
            followed = self._attach(sweep, jobs, watch)
            known = {each.job.run_id for each in followed}
            followed += self._submit(sweep, [job for job in jobs if job.run_id not in known], watch)
            self._follow(sweep, followed, watch)
            if followed:
                self._leave(sweep, followed, watch)

    def _attach(self, sweep: Path, jobs: Sequence[Job], watch: Watch) -> list[_Followed]:
        """Return the runs that have a job in SLURM's queue."""
        tasks = submission.known(sweep, [job.run_id for job in jobs], queue.tasks())
        found = [
            _Followed(job=job, key=(task.token, task.index), slurm_id=task.slurm_id, before=None, task=task)
            for job in jobs
            if (task := tasks.get(job.run_id)) is not None
        ]
        if found:
            watch.say(f"{_jobs(len(found))} of an earlier command in SLURM's queue: attached, not submitted again")
        return found

    def _submit(self, sweep: Path, jobs: Sequence[Job], watch: Watch) -> list[_Followed]:
        """Submit runs, an array for those that need the same resources."""
        waiting = []
        for job in jobs:
            if (record := job.record()) is not None and record.status == "finished":  # meanwhile
                watch.ended(job)
            else:
                waiting.append(job)
        followed = list[_Followed]()
        if not waiting:
            return followed
        before = {job.run_id: _record_in(job.folder) for job in waiting}
        code, most = codebase.of_run(), queue.largest_array()
        for _, same in groupby(sorted(waiting, key=_resources), key=_resources):
            alike = list(same)
            for first in range(0, len(alike), most):
                some = alike[first : first + most]
                token, array = submission.submit(sweep, some, self._settings, code=code)
                watch.say(
                    f"{_jobs(len(some))} submitted as SLURM job {array}; scripts and logs are in {sweep}/slurm/{token}"
                )
                followed += [
                    _Followed(job=job, key=(token, index), slurm_id=f"{array}_{index}", before=before[job.run_id])
                    for index, job in enumerate(some)
                ]
        return followed

    def _follow(self, sweep: Path, followed: list[_Followed], watch: Watch) -> None:
        """Report what becomes of the runs, until all have ended or `watch.stop`. Those that have ended are removed."""
        asked = -_ASKED
        while followed and not watch.stop:
            if time.monotonic() - asked < _ASKED:
                time.sleep(_LOOK)
                continue
            try:
                tasks = queue.tasks()
            except QueueError as error:  # the controller is restarted, or busy
                self._tell_once(f"{error}; the jobs go on, and SLURM is asked again", watch)
                tasks = None
            asked = time.monotonic()
            if tasks is not None:
                self._tell_waiting(followed, watch)
                for each in list(followed):
                    if self._has_ended(sweep, each, tasks.get(each.key), watch):
                        followed.remove(each)

    def _has_ended(self, sweep: Path, each: _Followed, task: Task | None, watch: Watch) -> bool:
        """Report a change of a run. Return True if it has ended, and that is reported."""
        now = time.monotonic()
        record = each.job.record()
        if record is not None and record.status == "finished":
            _show_running(each, watch)
            watch.ended(each.job)
            return True
        if task is None:
            each.unseen_since = each.unseen_since or now
            if now - each.unseen_since < _FORGET:
                return False
        else:
            each.task, each.unseen_since = task, None
            if task.lives:
                self._show(each, task, watch)
                if each.stuck >= _MOST_STUCK:
                    queue.cancel([each.slurm_id])
                    watch.ended(
                        each.job, f"{task} was started {each.stuck} times without a step that was saved; {_STUCK}"
                    )
                    return True
                if each.pruned is None and (verdict := watch.verdict(each.job)) is not None:
                    each.pruned = verdict
                    queue.cancel([each.slurm_id])
                return False
        each.ended_since = each.ended_since or now
        is_certain, record = settled(each.job, each.ended_since, before=each.before)
        if not is_certain:
            return False
        if record is not None and record.status == "finished":
            _show_running(each, watch)
            watch.ended(each.job)
            return True
        if record is not None and record.status == "failed":
            _show_running(each, watch)
            watch.ended(each.job, reason_of(each.job))
        elif each.pruned is not None:
            watch.pruned(each.job, each.pruned)
        elif task is None:
            watch.cut(each.job, f"{each} is not in SLURM's queue any more, and its run has not ended")
        elif task.state in queue.ENDED_FROM_OUTSIDE:
            watch.cut(each.job, f"{task} ended as {task.state}")
        else:
            self._report(sweep, each, task, watch)
        return True

    @staticmethod
    def _show(each: _Followed, task: Task, watch: Watch) -> None:
        if task.state == "RUNNING":
            _show_running(each, watch)
        elif task.state == "PENDING" and each.runs:
            each.runs, saved = False, runfolder.newest_state(each.job.folder)
            each.stuck = each.stuck + 1 if saved == each.saved else 0
            each.saved = saved
            watch.returned(each.job, f"SLURM job {task.slurm_id} is in the queue again, and its run goes on from there")

    @staticmethod
    def _report(sweep: Path, each: _Followed, task: Task, watch: Watch) -> None:
        """Report a job that has ended by itself, although its record tells of no end of the run."""
        own = _record_in(each.job.folder)
        if own is not None and own.status == "interrupted":  # it was told to save, and has done so
            watch.cut(each.job, f"{task} ended as {task.state}: {reason_of(each.job)}")
            return
        reason = f"{task} ended as {task.state}, with {queue.exit_of(task)}" + _last_words(
            submission.log_of(sweep, task)
        )
        try:
            close_dead(each.job.folder, reason)
        except RunError as error:
            reason += f", and its record could not be closed: {error}"
        _show_running(each, watch)
        watch.ended(each.job, reason)

    def _tell_waiting(self, followed: Sequence[_Followed], watch: Watch) -> None:
        """Say once why jobs wait, where the reason may not pass by itself."""
        reasons = Counter(
            each.task.reason for each in followed if each.task is not None and each.task.state == "PENDING"
        )
        for reason, count in reasons.items():
            if reason not in _USUAL:
                self._tell_once(f"{_jobs(count)} in SLURM's queue, which says why: {reason}", watch, key=reason)

    def _tell_once(self, line: str, watch: Watch, key: str | None = None) -> None:
        if (key or line) not in self._told:
            self._told.add(key or line)
            watch.say(line)

    @staticmethod
    def _leave(sweep: Path, followed: Sequence[_Followed], watch: Watch) -> None:
        """Cancel the runs that are left, or leave them to SLURM."""
        if watch.cancels:
            queue.cancel([each.slurm_id for each in followed])
            watch.say(f"{_jobs(len(followed))} cancelled: runs that had begun save and can be resumed")
        else:
            watch.say(
                f"{_jobs(len(followed))} left to SLURM: the same command attaches to them, and imgrec sweep cancel"
                f" {shown(sweep)} cancels them"
            )
        for each in followed:
            watch.cut(each.job)


def _show_running(each: _Followed, watch: Watch) -> None:
    if not each.runs:
        each.runs = True
        watch.began(each.job, str(each))


def _record_in(folder: Path) -> Record | None:
    """Return the record in a run's folder as it is written there."""
    return records.read(folder / RECORD) if (folder / RECORD).is_file() else None


def _resources(job: Job) -> tuple[int, int]:
    return job.config.trainer.num_nodes, job.config.trainer.devices


def _jobs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _last_words(log: Path) -> str:
    """Return the last lines of a log for the end of a sentence."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return f"; it has no log {shown(log)}"
    said = [line.strip() for line in lines if line.strip()][-_LINES:]
    return f"; {shown(log)} ends with: {' / '.join(said)}" if said else f"; its log {shown(log)} is empty"
