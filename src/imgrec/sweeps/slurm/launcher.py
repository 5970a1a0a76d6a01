"""Implement launcher=slurm: submit the runs of a sweep, or attach to their jobs, and follow them until they end.

Records decide what is done; SLURM only says which jobs live. A run is submitted only if no job of it waits or runs, so
that a sweep that was killed, or that Ctrl-C has detached, goes on with the jobs that it left in the queue.
"""

import time
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from imgrec import codechange, runfolder
from imgrec.config.root import Config
from imgrec.errors import shown
from imgrec.job import Job
from imgrec.sweeps.launchers.slurm import Slurm as Settings
from imgrec.sweeps.slurm import queue, submission
from imgrec.sweeps.slurm.followed import MOST_STUCK, Followed
from imgrec.sweeps.slurm.queue import QueueError
from imgrec.sweeps.watch import Watch

_ASKED = 5.0  # seconds between two questions to SLURM
_AGAIN = 60.0  # seconds until runs that SLURM does not take are offered again
_LOOK = 0.2  # seconds between two checks for a signal
_ALL = 10_000  # runs at a time, as far as a sweep asks
_USUAL = ("", "Priority", "Resources", "JobArrayTaskLimit", "BeginTime", "Cleaning")  # reasons that pass by themselves


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
            RunError: SLURM cannot be asked, or takes none of the runs.
        """
        if not jobs:
            return
        sweep = jobs[0].folder.absolute().parent
        with watch.deferred():
            submission.wait_for_others(sweep)
            followed = self._attach(sweep, jobs, watch)
            known = {each.job.run_id for each in followed}
            ahead = self._arrays([job for job in jobs if job.run_id not in known], watch)
            self._follow(sweep, followed, ahead, watch)
            if followed:
                self._leave(sweep, followed, watch)

    def _attach(self, sweep: Path, jobs: Sequence[Job], watch: Watch) -> list[Followed]:
        """Return the runs that have a job in SLURM's queue."""
        tasks = submission.known(sweep, [job.run_id for job in jobs], queue.tasks())
        found = [
            Followed(
                job=job,
                sweep=sweep,
                key=(task.token, task.index),
                slurm_id=task.slurm_id,
                before=runfolder.written(job.folder) if task.state == "PENDING" else None,
                task=task,
            )
            for job in jobs
            if (task := tasks.get(job.run_id)) is not None
        ]
        if found:
            watch.say(f"{_jobs(len(found))} of an earlier command in SLURM's queue: attached, not submitted again")
            self._tell_changes(sweep, found, watch)
        return found

    def _tell_changes(self, sweep: Path, attached: Sequence[Followed], watch: Watch) -> None:
        """Say what the present settings of the launcher would ask for, and the jobs in the queue do not."""
        for _, same in groupby(
            sorted(attached, key=lambda each: _resources(each.job)), lambda each: _resources(each.job)
        ):
            alike = list(same)
            tasks = [each.task for each in alike if each.task is not None]
            before, now = submission.differences(sweep, tasks, alike[0].job.config, self._settings)
            if before or now:
                changes = [f"had {_listed(before)}"] if before else []
                changes += [f"would now get {_listed(now)}"] if now else []
                watch.say(
                    f"{_jobs(len(alike))} keep what they were submitted with: their scripts {' and '.join(changes)};"
                    f" imgrec sweep cancel {shown(sweep)}, then this command, submits them anew"
                )

    def _arrays(self, jobs: Sequence[Job], watch: Watch) -> list[list[Job]]:
        """Return the runs that are to be submitted, in arrays of those that need the same resources."""
        waiting = []
        for job in jobs:
            if (record := job.record()) is not None and record.status == "finished":  # meanwhile
                watch.ended(job)
            else:
                waiting.append(job)
        if not waiting:
            return []
        most = queue.largest_array()
        size = min(self._settings.array_size or most, most)
        alike = [list(same) for _, same in groupby(sorted(waiting, key=_resources), key=_resources)]
        return [same[first : first + size] for same in alike for first in range(0, len(same), size)]

    def _follow(self, sweep: Path, followed: list[Followed], ahead: list[list[Job]], watch: Watch) -> None:
        """Submit what is ahead, and report what becomes of the runs, until all have ended or `watch.stop`.

        Runs that have ended are removed from `followed`.
        """
        asked = offered = -_AGAIN
        while (followed or ahead) and not watch.stop:
            now = time.monotonic()
            if ahead and now - offered >= _AGAIN:
                offered = now
                self._submit(sweep, followed, ahead, watch)
            if now - asked < _ASKED:
                time.sleep(_LOOK)
                continue
            asked = now
            try:
                tasks = queue.tasks()
                self._tell_waiting(followed, watch)
                for each in list(followed):
                    if each.has_ended(tasks.get(each.key), watch) or self._is_given_up(each, watch):
                        followed.remove(each)
                        offered = -_AGAIN  # SLURM may take more now
                    elif each.pruned is None and (verdict := watch.verdict(each.job)) is not None:
                        queue.cancel([each.slurm_id])
                        each.pruned = verdict
            except QueueError as error:  # the controller is restarted, or busy
                self._tell_once(f"{error}; the jobs go on, and SLURM is asked again", watch)

    def _submit(self, sweep: Path, followed: list[Followed], ahead: list[list[Job]], watch: Watch) -> None:
        """Submit arrays, and move their runs to `followed`, as far as SLURM takes them.

        Raises:
            QueueError: It takes none, and no other run is followed.
        """
        code = codechange.pinned(ahead[0][0].config.code)
        while ahead:
            jobs = ahead[0]
            before = [runfolder.written(job.folder) for job in jobs]
            try:
                token, array = submission.submit(sweep, jobs, self._settings, code=code)
            except QueueError as error:
                if not followed:
                    raise
                waiting = sum(map(len, ahead))
                self._tell_once(f"{error.reason}: {_jobs(waiting)} submitted as others end", watch, key="limit")
                return
            ahead.pop(0)
            watch.say(
                f"{_jobs(len(jobs))} submitted as SLURM job {array}; scripts and logs are in {sweep}/slurm/{token}"
            )
            followed += [
                Followed(job=job, sweep=sweep, key=(token, index), slurm_id=f"{array}_{index}", before=before[index])
                for index, job in enumerate(jobs)
            ]

    @staticmethod
    def _is_given_up(each: Followed, watch: Watch) -> bool:
        """Cancel a run that SLURM starts again and again without a step. Return True if that was done and reported."""
        if each.stuck < MOST_STUCK:
            return False
        queue.cancel([each.slurm_id])
        watch.cut(
            each.job,
            f"{each} was started {each.stuck} times without a step that was saved, and is cancelled; if its time ended,"
            " give more launcher.time, or less launcher.signal",
        )
        return True

    def _tell_waiting(self, followed: Sequence[Followed], watch: Watch) -> None:
        """Say once why jobs wait, where the reason may not pass by itself."""
        reasons = Counter(
            each.task.reason for each in followed if each.task is not None and each.task.state == "PENDING"
        )
        whys = {each.task.reason: each.task.why for each in followed if each.task is not None}
        for reason, count in reasons.items():
            if reason not in _USUAL:
                self._tell_once(f"{_jobs(count)} in SLURM's queue, which says why: {whys[reason]}", watch, key=reason)

    def _tell_once(self, line: str, watch: Watch, key: str | None = None) -> None:
        if (key or line) not in self._told:
            self._told.add(key or line)
            watch.say(line)

    @staticmethod
    def _leave(sweep: Path, followed: Sequence[Followed], watch: Watch) -> None:
        """Cancel the runs that are left, or leave them to SLURM."""
        ways = f"the same command follows again, and imgrec sweep cancel {shown(sweep)} cancels"
        told = f"{_jobs(len(followed))} left to SLURM, where the jobs go on: {ways}"
        cancelled = False
        if watch.cancels:
            try:
                queue.cancel([each.slurm_id for each in followed])
                told = f"{_jobs(len(followed))} cancelled: runs that had begun save and can be resumed"
                cancelled = True
            except QueueError as error:
                told = f"{error}; {told}"
        watch.say(told)
        for each in followed:
            if cancelled:
                watch.cut(each.job)
            else:
                watch.left(each.job, queued=each.task is None or each.task.state == "PENDING")


def _resources(job: Job) -> tuple[int, int]:
    return job.config.trainer.num_nodes, job.config.trainer.devices


def _listed(lines: Sequence[str]) -> str:
    return ", ".join(line.removeprefix("#SBATCH ") for line in lines)


def _jobs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"
