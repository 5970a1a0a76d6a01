"""Follow one run that SLURM carries out, from its job's state and its record, until it has ended."""

import time
from dataclasses import dataclass
from pathlib import Path

from imgrec import runfolder
from imgrec.job import Job
from imgrec.records import Record
from imgrec.sweeps.jobs import closed_dead, reason_of, settled
from imgrec.sweeps.slurm import queue, submission
from imgrec.sweeps.slurm.queue import Task
from imgrec.sweeps.watch import Watch

FORGET = 30.0  # seconds for a job to be listed, before it counts as forgotten
MOST_STUCK = 3  # times that SLURM may start a run which saves no step


@dataclass(kw_only=True)
class Followed:
    """A run and its job in SLURM.

    Attributes:
        job: The run.
        sweep: The sweep's folder.
        key: The token and the index of its submission.
        slurm_id: The id of its job, such as 123_4.
        before: The run's record before its job began; None without one, or where that is not known.
        task: The job as SLURM last listed it; None before.
        pruned: Why the run is ended early; None if it is not.
        stuck: How often SLURM has queued it again without a newer checkpoint.
    """

    job: Job
    sweep: Path
    key: tuple[str, int]
    slurm_id: str
    before: Record | None
    task: Task | None = None
    pruned: str | None = None
    stuck: int = 0
    _runs: bool = False  # it is shown as running
    _saved: str | None = None  # the digest of its newest checkpoint when SLURM queued it again
    _is_awaited: bool = False  # it is said that its record is awaited
    _unseen_since: float | None = None  # when SLURM stopped listing it
    _ended_since: float | None = None  # when it was first seen to have ended
    _exit: str = ""

    def __str__(self) -> str:
        return str(self.task) if self.task is not None else f"SLURM job {self.slurm_id}"

    def has_ended(self, task: Task | None, watch: Watch) -> bool:
        """Report a change of the run. Return True if it has ended, and that is reported.

        Args:
            task: The job as SLURM lists it now; None if it does not.
            watch: Takes the reports.
        """
        if self._is_finished(watch):
            return True
        if task is not None:
            self.task, self._unseen_since = task, None
            if task.lives:
                self._show(task, watch)
                return False
        elif self.task is None or self.task.lives:
            self._unseen_since = self._unseen_since or time.monotonic()
            if time.monotonic() - self._unseen_since < FORGET:
                return False
        if self._ended_since is None:
            self._ended_since = time.monotonic()
            self._exit = queue.exit_of(task) if task is not None else ""
        is_certain, _ = settled(self.job, self._ended_since, before=self.before)
        if not is_certain:
            self._tell_awaited(task, watch)
            return False
        if not self._is_finished(watch):
            self._report(watch)
        return True

    def _tell_awaited(self, task: Task | None, watch: Watch) -> None:
        """Say once that a job has failed, before it is certain what its run has recorded."""
        if task is None or task.state in (*queue.ENDED_FROM_OUTSIDE, "COMPLETED") or self._is_awaited:
            return
        self._is_awaited = True
        watch.say(
            f"{self.job.name}: {task} ended as {task.state}, with {self._exit}; its record is awaited for a minute, as"
            " a shared file system may show it late"
        )

    def _is_finished(self, watch: Watch) -> bool:
        record = self.job.record()
        if record is None or record.status != "finished":
            return False
        self._show_running(watch)
        watch.ended(self.job)
        return True

    def _show(self, task: Task, watch: Watch) -> None:
        if task.state == "RUNNING":
            self._show_running(watch)
        elif task.state == "PENDING" and self._runs:
            self._runs, saved = False, runfolder.newest_state(self.job.folder)
            self.stuck = self.stuck + 1 if saved == self._saved else 0
            self._saved = saved
            watch.returned(self.job, f"SLURM job {task.slurm_id} is in the queue again, and its run goes on from there")

    def _show_running(self, watch: Watch) -> None:
        if not self._runs:
            self._runs = True
            watch.began(self.job, str(self))

    def _report(self, watch: Watch) -> None:
        """Report the end of a run that has not finished. Only a record that this job has written counts."""
        own = runfolder.written(self.job.folder)
        if own == self.before:
            own = None
        task = self.task if self.task is not None and not self.task.lives else None
        if own is not None and own.status == "failed":
            self._show_running(watch)
            watch.ended(self.job, reason_of(self.job))
        elif self.pruned is not None:
            watch.pruned(self.job, self.pruned)
        elif task is None:
            watch.cut(self.job, f"{self} is not in SLURM's queue any more, and its run has not ended")
        elif task.state in queue.ENDED_FROM_OUTSIDE:
            watch.cut(self.job, f"{task} ended as {task.state}")
        elif own is not None and own.status == "interrupted":  # it was told to save, and has done so
            watch.cut(self.job, f"{task} ended as {task.state}: {reason_of(self.job)}")
        else:
            self._report_failure(task, watch)

    def _report_failure(self, task: Task, watch: Watch) -> None:
        """Report a job that has ended by itself, although it has written no end of the run."""
        reason = f"{task} ended as {task.state}, with {self._exit}"
        reason += f"; {submission.last_words(submission.log_of(self.sweep, task))}"
        reason = closed_dead(self.job.folder, reason)
        watch.ended(self.job, reason)
