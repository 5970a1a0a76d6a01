"""Write down which runs a submission to SLURM holds, before SLURM knows of it, and find them again. Imports no torch.

A sweep's folder has slurm/TOKEN/ for each submission: runs.json (the ids of the runs, by their index in the array),
INDEX.json (the job that a node carries out), script.sh (what sbatch takes) and INDEX.log (what SLURM and the run
print). SLURM keeps the token as the comment of the jobs. So a process that ends at any moment leaves jobs that the same
command recognises.
"""

import contextlib
import fcntl
import secrets
import shlex
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from imgrec import codebase, text_files
from imgrec.config.root import Config
from imgrec.cores import THREADS
from imgrec.errors import RunError, shown
from imgrec.job import Job
from imgrec.sweeps.launchers.slurm import Slurm
from imgrec.sweeps.slurm import queue
from imgrec.sweeps.slurm.queue import QueueError, Task

FOLDER = "slurm"  # in the sweep's folder
_RUNS, _SCRIPT, _LOCK, _DONE = "runs.json", "script.sh", "lock", "submitted.json"
_ASKED = ("gres", "partition", "account", "qos", "time", "mem", "constraint", "exclude")  # options of the same name
_PATIENCE = 300.0  # seconds for sbatch to end, where the sweep that started it was killed
_LOOK = 0.5
_TAIL = 2048  # bytes at the end of a log in which its last lines are looked for
_LINES = 3


def known(sweep: Path, run_ids: Iterable[str], found: Mapping[tuple[str, int], Task]) -> dict[str, Task]:
    """Return SLURM's job of each run, where it has one that waits or runs.

    Args:
        sweep: The sweep's folder.
        run_ids: The runs.
        found: SLURM's jobs, as `queue.tasks`.
    """
    wanted, tasks = set(run_ids), dict[str, Task]()
    for token in {token for token, _ in found}:
        for index, run_id in enumerate(_runs(sweep / FOLDER / token)):
            task = found.get((token, index))
            if task is not None and task.lives and run_id in wanted:
                tasks[run_id] = task
    return tasks


def newest(sweep: Path) -> dict[str, Path]:
    """Return the file of the job that was submitted last for each run, by the run's id. Its log lies beside it."""
    folders = sorted((sweep / FOLDER).glob("*"), key=lambda folder: folder.stat().st_mtime)
    return {run_id: folder / f"{index}.json" for folder in folders for index, run_id in enumerate(_runs(folder))}


def last_words(log: Path) -> str:
    """Return the last lines of a job's log, for a sentence."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return f"it has no log {shown(log)}"
    said = [line.strip() for line in lines if line.strip()][-_LINES:]
    return f"{shown(log)} ends with: {' / '.join(said)}" if said else f"its log {shown(log)} is empty"


def differences(sweep: Path, tasks: Iterable[Task], config: Config, settings: Slurm) -> tuple[list[str], list[str]]:
    """Return the lines of jobs' scripts that the present settings would not write, and those that they would.

    Args:
        sweep: The sweep's folder.
        tasks: The jobs, which all need the same resources.
        config: The configuration of one of their runs.
        settings: What a job asks for now.
    """
    before, now = dict[str, None](), dict[str, None]()
    for folder in {sweep.absolute() / FOLDER / task.token for task in tasks}:
        with contextlib.suppress(OSError, UnicodeDecodeError):  # the jobs go on, whatever became of their script
            old = (folder / _SCRIPT).read_text(encoding="utf-8").splitlines()
            new = script_of(folder, len(_runs(folder)), config, settings, name=sweep.absolute().name).splitlines()
            before.update(dict.fromkeys(line for line in old if line not in new))
            now.update(dict.fromkeys(line for line in new if line not in old))
    return list(before), list(now)


def wait_for_others(sweep: Path) -> None:
    """Wait until no sbatch is under way that a killed process of this sweep started: its jobs are not listed before.

    Raises:
        RunError: One does not end.
    """
    until = time.monotonic() + _PATIENCE
    for folder in sorted((sweep / FOLDER).glob("*")):
        while not (folder / _DONE).is_file() and _is_locked(folder / _LOCK):
            if time.monotonic() > until:
                raise RunError(
                    f"{shown(folder)} must be submitted or not, and its sbatch is still waiting for SLURM; end that"
                    " process, and start the same command again"
                )
            time.sleep(_LOOK)


def submit(sweep: Path, jobs: Sequence[Job], settings: Slurm, *, code: codebase.Code) -> tuple[str, str]:
    """Submit an array of jobs, which all need the same resources.

    Args:
        sweep: The sweep's folder.
        jobs: The runs.
        settings: What each job asks for.
        code: The code with which the nodes must carry them out.

    Returns:
        The token of the submission, and SLURM's id of the array.

    Raises:
        QueueError: SLURM refuses them. None was submitted, unless SLURM could not be asked.
    """
    token, has_gpus = secrets.token_hex(6), settings.asks_for_gpus
    folder = sweep.absolute() / FOLDER / token
    folder.mkdir(parents=True)
    for index, job in enumerate(jobs):
        text_files.write_text(folder / f"{index}.json", replace(job, code=code, has_gpus=has_gpus).to_json())
    text_files.write_json(folder / _RUNS, [job.run_id for job in jobs])
    script = folder / _SCRIPT
    text_files.write_text(script, script_of(folder, len(jobs), jobs[0].config, settings, name=sweep.absolute().name))
    given = [option for option in _ASKED if getattr(settings, option) is not None]
    try:
        with _locked(folder / _LOCK) as lock:
            array = queue.submit(script, given=given, inherited=[lock.fileno()])
    except QueueError as error:
        if (found := _id_of(token)) is None:
            shutil.rmtree(folder, ignore_errors=True)
            left = "1 run is" if len(jobs) == 1 else f"{len(jobs)} runs are"
            raise QueueError(
                error.reason,
                way_out=f"{left} not submitted: correct the setting of launcher that sbatch names, and give the command"
                " again",
            ) from error
        array = found  # SLURM had taken them before its answer was lost
    text_files.write_json(folder / _DONE, {"job": array})
    return token, array


def log_of(sweep: Path, task: Task) -> Path:
    """Return the file with what SLURM and the run print."""
    return sweep / FOLDER / task.token / f"{task.index}.log"


def script_of(folder: Path, count: int, config: Config, settings: Slurm, *, name: str) -> str:
    """Return the script that sbatch takes.

    Args:
        folder: The folder of the submission.
        count: The number of runs.
        config: The configuration of one of the runs, which all need the same resources.
        settings: What each job asks for.
        name: The sweep's name.
    """
    options: dict[str, object] = {
        "job-name": f"imgrec-{name}",
        "comment": f"{queue.COMMENT}{folder.name}",
        "array": f"0-{count - 1}" + (f"%{settings.array_parallelism}" if settings.array_parallelism else ""),
        "output": f"{str(folder).replace('%', '%%')}/%a.log",
        "open-mode": "append",
        "signal": f"USR1@{settings.signal}",
        "nodes": config.trainer.num_nodes,
        "ntasks-per-node": config.trainer.devices,
        "cpus-per-task": settings.cpus_per_task,
        "gpus-per-node": settings.gpus_per_node,
        **{option: getattr(settings, option) for option in _ASKED},
    }
    asked = [f"--{key}={value}" for key, value in options.items() if value is not None]
    cpus = f"--cpus-per-task={settings.cpus_per_task}"  # srun does not take it from sbatch since SLURM 22.05
    run = ["srun", "--unbuffered", "--kill-on-bad-exit=1", cpus, *settings.srun, sys.executable, "-m", "imgrec", "_job"]
    return "\n".join(
        (
            "#!/bin/bash",
            *(f"#SBATCH {_word(option)}" for option in ("--requeue", *asked, *settings.sbatch)),
            "",
            "set -e",
            *settings.setup,
            "set +e",
            f"export {THREADS}={settings.cpus_per_task}",
            f"{shlex.join(run)} {shlex.quote(str(folder))}/$SLURM_ARRAY_TASK_ID.json",
            "",
        )
    )


def _word(option: str) -> str:
    """Return an option of sbatch as its scripts write it: with quotes where it has a space, and no line breaks."""
    return shlex.quote(" ".join(option.splitlines()))


def _id_of(token: str) -> str | None:
    """Return SLURM's id of a submission's array; None if SLURM knows none, or does not answer."""
    with contextlib.suppress(QueueError):
        for task in queue.tasks().values():
            if task.token == token:
                return task.slurm_id.partition("_")[0]
    return None


def _runs(folder: Path) -> list[str]:
    """Return the ids of a submission's runs; none where it belongs to another sweep."""
    try:
        return [str(run_id) for run_id in text_files.read_json(folder / _RUNS)]
    except FileNotFoundError:
        return []
    except text_files.UNREADABLE as error:
        raise RunError(
            f"{shown(folder / _RUNS)} must hold the ids of submitted runs, and cannot be read:"
            f" {text_files.reason(error)}; restore it, or cancel the jobs with scancel"
        ) from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    """Lock a file. The lock lasts until this process and those that inherit the file have closed it."""
    with path.open("wb") as file:
        with contextlib.suppress(OSError):  # a file system without flock
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _is_locked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # none, or a file system without flock
        return False
    return False
