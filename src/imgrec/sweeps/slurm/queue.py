"""Ask SLURM which jobs there are, submit and cancel them: sbatch, squeue, scancel, scontrol. Imports no torch."""

import os
import re
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from imgrec.errors import RunError

COMMENT = "imgrec:"  # how the comment of each job begins; the token of its submission follows
LIVE = frozenset(
    "PENDING CONFIGURING RUNNING COMPLETING SUSPENDED STOPPED SIGNALING RESIZING STAGE_OUT"  # noqa: SIM905 - as squeue
    " REQUEUED REQUEUE_FED REQUEUE_HOLD RESV_DEL_HOLD SPECIAL_EXIT".split()
)
"""States of jobs that wait, run, or will be started again."""
ENDED_FROM_OUTSIDE = frozenset(["CANCELLED", "PREEMPTED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL", "DEADLINE", "REVOKED"])
"""States of jobs whose end says nothing about their runs."""
_ANEW = "imgrec sweep cancel DIR, then the sweep's command with"
# reasons that do not pass by themselves, or not soon, and what helps; squeue's manual lists them
_REMEDIES = (
    ("PartitionTimeLimit|QOSMaxWall|AssocMaxWall", f"a job may not run so long; {_ANEW} less launcher.time"),
    (
        "PartitionNodeLimit|PartitionConfig",
        f"the partition does not allow such jobs; {_ANEW} another launcher.partition",
    ),
    ("PartitionDown|PartitionInactive", f"the partition takes no jobs; wait, or {_ANEW} another launcher.partition"),
    ("BadConstraints", f"no node has that; {_ANEW} another launcher.constraint, or fewer resources"),
    ("ReqNodeNotAvail|Reservation|NodeDown", "nodes are down or reserved; sinfo -R says until when or why"),
    ("JobHeldUser|JobHeldAdmin", "the job is held; scontrol release JOB, or ask the cluster's administrators"),
    ("launch failed requeued held", "a node could not start it; scontrol release JOB tries again"),
    ("InvalidAccount|InvalidQOS|QOSNotAllowed", f"{_ANEW} another launcher.account or launcher.qos"),
    ("QOS|Assoc", "a limit on what your account uses at a time; it may start as other jobs end"),
    ("Licenses|BurstBuffer", "what the job needs beside nodes is in use"),
)
_WAIT = 60.0  # seconds for a command of SLURM to answer
_KEPT = ("SLURM_CONF", "SLURM_CLUSTERS", "SBATCH_CLUSTERS", "SBATCH_RESERVATION")
# variables by which a user may choose for all jobs what a script leaves open
_WISHES = {
    "SBATCH_ACCOUNT": "account",
    "SBATCH_CONSTRAINT": "constraint",
    "SBATCH_PARTITION": "partition",
    "SBATCH_QOS": "qos",
    "SBATCH_TIMELIMIT": "time",
}
_SEVERAL = 500  # jobs that one call of scancel names
_DEFAULT_ARRAY = 1001  # SLURM's own default of MaxArraySize, the number of indices


class QueueError(RunError):
    """SLURM does not answer, or refuses."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A job of an array, as squeue lists it.

    Attributes:
        slurm_id: Its id, such as 123_4.
        state: Its state, such as PENDING.
        token: The token of its submission.
        index: Its index in the array.
        node: The nodes on which it runs or ran; empty before.
        reason: Why it is in this state, as SLURM says it; empty for none.
    """

    slurm_id: str
    state: str
    token: str
    index: int
    node: str = ""
    reason: str = ""

    @property
    def why(self) -> str:
        """Why it is in this state, and what helps where the reason does not pass by itself; empty for no reason."""
        remedy = next((remedy for form, remedy in _REMEDIES if re.match(form, self.reason)), "")
        return f"{self.reason}: {remedy}" if remedy else self.reason

    @property
    def lives(self) -> bool:
        """True if it waits, runs, or will be started again."""
        return self.state in LIVE

    def __str__(self) -> str:
        """Return it for a sentence."""
        return f"SLURM job {self.slurm_id}" + (f" on {self.node}" if self.node else "")


def tasks() -> dict[tuple[str, int], Task]:
    """Return this user's jobs that imgrec submitted and SLURM remembers, by the token and index of their submission.

    SLURM remembers jobs that have ended for some minutes.

    Raises:
        QueueError: SLURM does not answer.
    """
    # -a: also those in partitions that the site hides from users
    listed = _call(["squeue", "--me", "-a", "-h", "-r", "-t", "all", "-o", "%i|%T|%N|%r|%k"])
    found: dict[tuple[str, int], Task] = {}
    for line in listed.splitlines():
        slurm_id, state, node, reason, comment = (*line.split("|", 4), "", "", "", "")[:5]
        _, _, index = slurm_id.partition("_")
        if comment.startswith(COMMENT) and index.isdecimal():
            task = Task(
                slurm_id=slurm_id,
                state=state,
                token=comment.removeprefix(COMMENT),
                index=int(index),
                node=node,
                reason="" if reason == "None" else reason,
            )
            found[task.token, task.index] = task
    return found


def submit(script: Path, *, given: Collection[str], inherited: Collection[int] = ()) -> str:
    """Submit a script, and return the id that SLURM gives the job.

    Args:
        script: The script.
        given: The options that it sets, which the user's environment must not set otherwise.
        inherited: Files of this process that sbatch keeps open until it ends.

    Raises:
        QueueError: sbatch refuses it, or does not answer.
    """
    wished = {name for name, option in _WISHES.items() if option not in given}
    said = _call(["sbatch", "--parsable", str(script)], pass_fds=inherited, wished=wished)
    return said.strip().partition(";")[0]


def cancel(slurm_ids: Sequence[str]) -> None:
    """Cancel jobs: those that run are told to save first. Jobs that have ended are left alone.

    Raises:
        QueueError: SLURM does not answer.
    """
    for first in range(0, len(slurm_ids), _SEVERAL):
        _call(["scancel", *slurm_ids[first : first + _SEVERAL]])


def largest_array() -> int:
    """Return how many jobs an array may have on this cluster.

    Raises:
        QueueError: SLURM does not answer.
    """
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _call(["scontrol", "show", "config"]), re.MULTILINE)
    return max(1, int(found[1]) if found else _DEFAULT_ARRAY)


def exit_of(task: Task) -> str:
    """Return how a job that has ended did so, in words, as far as SLURM remembers it: `exit code 3`."""
    try:
        shown = _call(["scontrol", "show", "job", "-o", task.slurm_id])
    except QueueError:  # SLURM has forgotten the job
        return "an unknown exit code"
    found = re.search(r"\bExitCode=(\d+):(\d+)", shown)
    if found is None:
        return "an unknown exit code"
    return f"signal {found[2]}" if found[2] != "0" else f"exit code {found[1]}"


def _call(command: Sequence[str], *, pass_fds: Collection[int] = (), wished: Collection[str] = ()) -> str:
    """Return what a command of SLURM prints.

    Variables that describe the job in which this process runs, or that change what a command does, are kept from it.
    Signals to this process' group do not reach it.
    """
    told = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("SLURM_", "SBATCH_", "SQUEUE_", "SCANCEL_")) or key in _KEPT or key in wished
    }
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_WAIT,
            pass_fds=tuple(pass_fds),
            env=told,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise QueueError(
            f"{command[0]} must be on the PATH, and is not found; call imgrec on a node of the cluster from which jobs"
            " are submitted, or give another launcher"
        ) from error
    except (OSError, subprocess.SubprocessError) as error:
        raise QueueError(f"{command[0]} must answer, and does not: {error}") from error
    if done.returncode:
        raise QueueError(f"{command[0]} refused: {_words(done.stderr) or f'exit code {done.returncode}'}")
    return done.stdout


def _words(text: str) -> str:
    """Return what a command of SLURM says, without the prefixes of its lines."""
    lines = [re.sub(r"^\w+: (error|fatal): ", "", line.strip()) for line in text.splitlines()]
    return "; ".join(dict.fromkeys(filter(None, lines)))
