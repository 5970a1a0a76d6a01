"""Implement launcher=ray: a task of a Ray cluster for each run, which a process of its own carries out.

Records decide what is done; Ray only says which tasks have ended. A run whose worker or node was lost is submitted
again, and goes on from its last checkpoint.
"""

import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imgrec import codechange, disk, runfolder
from imgrec.config.root import Config
from imgrec.cores import THREADS
from imgrec.errors import RunError, shown
from imgrec.job import Job
from imgrec.records import Record
from imgrec.sweeps.jobs import closed_dead, reason_of
from imgrec.sweeps.launchers.ray import Ray as Settings
from imgrec.sweeps.watch import StoppedError, Watch
from imgrec.training.interruption import SIGNALS

_LOOK = 0.5  # seconds between two checks for a signal, and for runs that have begun
_ANSWER = 20.0  # seconds for a cluster's port to answer
_GRACE = 90.0  # seconds for runs to save after a signal
_HANDED = ("IMGREC_", "PYTHONPATH")  # how the variables begin that a node takes over from the sweep's process
_LINES = 3
_PR_SET_PDEATHSIG = 1  # of Linux' prctl: which signal a process gets when its parent ends


@dataclass(frozen=True, kw_only=True)
class _End:
    """How the process of a run ended.

    Attributes:
        code: Its exit code.
        node: The node's host name.
        status: The status in the record that it has written; None if it has written none.
        lines: The last lines that it printed.
    """

    code: int
    node: str
    status: str | None
    lines: tuple[str, ...]


def _carry_out(text: str, folder: str, working_folder: str, variables: Mapping[str, str]) -> _End:
    """Carry out a run in a process of its own, on the node on which Ray calls this.

    Args:
        text: The job as JSON.
        folder: The run's folder.
        working_folder: The sweep's working folder, which its paths may be relative to.
        variables: Environment variables that the process gets besides the node's own.
    """
    until = time.monotonic() + _GRACE
    while runfolder.is_locked(Path(folder)) and time.monotonic() < until:
        time.sleep(_LOOK)  # the process of a lost worker still saves
    before = runfolder.written(Path(folder))
    command = [sys.executable, "-m", "imgrec", "_job", "-"]
    process = subprocess.Popen(
        command,
        cwd=working_folder,
        env={**os.environ, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=_end_with_parent,
    )
    assert process.stdin is not None, "a pipe"
    assert process.stdout is not None, "a pipe"
    last = deque[str](maxlen=_LINES)
    try:
        with process.stdin:
            process.stdin.write(text.encode())
        for line in process.stdout:
            if said := line.decode(errors="replace").strip():
                last.append(said)
        code = process.wait()
    except BaseException:  # Ray cancels the task
        process.terminate()
        process.wait(_GRACE)
        raise
    record = runfolder.written(Path(folder))
    status = record.status if record is not None and record != before else None
    return _End(code=code, node=socket.gethostname(), status=status, lines=tuple(last))


def _end_with_parent() -> None:
    """Let the process that is about to start get SIGTERM, and save, when Ray's worker ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class RayTasks:
    """Carry out jobs on a Ray cluster.

    Args:
        settings: The cluster, and what each run needs of it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def at_a_time(self, configs: Sequence[Config]) -> int:
        """Return how many runs the cluster's CPUs and GPUs allow at a time; see `Launcher`."""
        there = self._connect().cluster_resources()
        needs = {"CPU": self._settings.num_cpus, "GPU": self._settings.num_gpus}
        return max(1, min(len(configs), *(int(there.get(kind, 0) // need) for kind, need in needs.items() if need)))

    def run(self, jobs: Sequence[Job], watch: Watch) -> None:
        """See `Launcher`. Signals are deferred: the runs save, and the tasks end.

        Raises:
            RunError: There is no cluster.
        """
        client = self._connect()
        with watch.deferred():
            self._run(client, jobs, watch)

    def _run(self, client: Any, jobs: Sequence[Job], watch: Watch) -> None:
        self._tell_impossible(client, jobs, watch)
        remote, code = client.remote(_carry_out), codechange.pinned(jobs[0].config.code if jobs else "ignore")
        variables = {name: value for name, value in os.environ.items() if name.startswith(_HANDED)}
        variables[THREADS] = str(self._settings.num_cpus)

        def submit(job: Job) -> Any:
            text = replace(job, code=code, has_gpus=self._settings.num_gpus > 0).to_json()
            needs = self._needs(job)
            task = remote.options(num_cpus=needs["CPU"], num_gpus=needs["GPU"], max_retries=0, name=job.name)
            return task.remote(text, str(job.folder.absolute()), str(Path.cwd()), variables)

        waiting = {submit(job): job for job in jobs}
        lost, begun, pruned = dict[str, int](), set[str](), dict[str, str]()
        while waiting and not watch.stop:
            ready, _ = client.wait(list(waiting), timeout=_LOOK)
            self._tell_begun(waiting.values(), begun, watch)
            for task, job in waiting.items():
                if job.run_id not in pruned and (verdict := watch.verdict(job)) is not None:
                    pruned[job.run_id] = verdict
                    client.cancel(task)
            for task in ready:
                job = waiting.pop(task)
                try:
                    end = client.get(task)
                except client.exceptions.RayError as error:
                    lost[job.run_id] = lost.get(job.run_id, 0) + 1
                    if self._has_ended(job, None, watch):
                        continue
                    if isinstance(error, client.exceptions.LocalRayletDiedError):
                        for left in (job, *waiting.values()):
                            watch.cut(left)
                        raise StoppedError(
                            "the Ray cluster must answer, and Ray's process here has ended; start it again, and"
                            " give the same command, which goes on with what is left"
                        ) from error
                    if job.run_id in pruned:
                        watch.pruned(job, pruned[job.run_id])
                    elif not self._is_given_up(job, lost, error, watch):
                        begun.discard(job.run_id)
                        waiting[submit(job)] = job
                else:
                    self._has_ended(job, end, watch)
        for task in waiting:
            client.cancel(task)
        if waiting:
            client.wait(list(waiting), num_returns=len(waiting), timeout=_GRACE)
        for job in waiting.values():
            if not self._has_ended(job, None, watch):
                watch.cut(job)

    def _needs(self, job: Job) -> dict[str, float]:
        """Return what a run needs of a node, with Ray's names."""
        return {"CPU": self._settings.num_cpus * job.config.trainer.devices, "GPU": self._settings.num_gpus}

    def _tell_impossible(self, client: Any, jobs: Sequence[Job], watch: Watch) -> None:
        """Say that runs wait for a node that the cluster does not have. An autoscaler may add one."""
        nodes = [node["Resources"] for node in client.nodes() if node["Alive"]]
        for needs in {tuple(self._needs(job).items()) for job in jobs}:
            if not any(all(node.get(kind, 0) >= need for kind, need in needs) for node in nodes):
                wanted = " and ".join(f"{need:g} {kind}s" for kind, need in needs if need)
                watch.say(
                    f"no node of the Ray cluster has {wanted} for a run: they wait until one joins; give less"
                    " launcher.num_cpus or launcher.num_gpus"
                )

    @staticmethod
    def _tell_begun(jobs: Iterable[Job], begun: set[str], watch: Watch) -> None:
        for job in jobs:
            if job.run_id not in begun and (record := job.record()) is not None and record.status == "running":
                begun.add(job.run_id)
                watch.began(job)

    def _is_given_up(self, job: Job, lost: Mapping[str, int], error: BaseException, watch: Watch) -> bool:
        """Report a run whose worker or node was lost. Return True if it is not submitted again."""
        how = f"its worker on the Ray cluster was lost ({type(error).__name__})"
        if lost[job.run_id] <= self._settings.retries:
            watch.returned(job, f"{how}; it is submitted again")
            return False
        reason = f"{how} {lost[job.run_id]} times; see {shown(job.folder / 'train.log')}"
        watch.ended(job, closed_dead(job.folder, reason))
        return True

    @staticmethod
    def _has_ended(job: Job, end: _End | None, watch: Watch) -> bool:
        """Report the end of a run. Return False if its process was lost, and its record tells of no end.

        Args:
            job: The run.
            end: How its process ended; None if that is not known.
            watch: Takes the report.
        """
        record = job.record() if end is None else _shown(job, end.status)
        if record is not None and record.status == "finished":
            watch.ended(job)
        elif end is None:
            return False
        elif end.status == "failed":
            watch.ended(job, reason_of(job))
        elif end.status == "interrupted" and end.code > 128:
            watch.cut(job, f"its process on {end.node} was asked to end")
        else:
            said = f"; it said last: {' / '.join(end.lines)}" if end.lines else ""
            reason = f"its process on {end.node} ended with exit code {end.code}{said}"
            watch.ended(job, closed_dead(job.folder, reason))
        return True

    def _connect(self) -> Any:
        """Return Ray's interface, after connecting to the cluster, or starting one. It lasts until the process ends.

        Raises:
            RunError: Ray is not installed, or the cluster does not answer.
        """
        try:
            import ray
        except ImportError as error:
            raise RunError(
                "launcher=ray needs the package ray, which is not installed; in the clone, pip install -e '.[ray]', or"
                " choose launcher=pool"
            ) from error
        if ray.is_initialized():
            return ray
        handlers = {signum: signal.getsignal(signum) for signum in SIGNALS}
        try:
            _knock(self._settings.address)
            ray.init(
                address=self._settings.address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                include_dashboard=False if self._settings.address is None else None,
            )
        except (OSError, RuntimeError, ValueError) as error:  # ConnectionError is an OSError
            raise RunError(
                f"launcher.address={self._settings.address} must be a Ray cluster that answers, got:"
                f" {' '.join(str(error).split())}; start one with ray start, or leave launcher.address out"
            ) from error
        finally:
            if threading.current_thread() is threading.main_thread():  # Ray handles SIGTERM itself
                for signum, handler in handlers.items():
                    signal.signal(signum, handler)
        return ray


def _knock(address: str | None) -> None:
    """Connect to the cluster's port once, as Ray itself would try for minutes.

    Raises:
        OSError: Nothing answers there.
    """
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER).close()


def _shown(job: Job, status: str | None) -> Record | None:
    """Return the run's record, once this machine sees what the node has written, or after a minute."""
    until = time.monotonic() + runfolder.SHOWN_AFTER
    while True:
        record = job.record()
        if status is None or (record is not None and record.status == status) or time.monotonic() > until:
            return record
        disk.refresh(job.folder)
        time.sleep(_LOOK)
