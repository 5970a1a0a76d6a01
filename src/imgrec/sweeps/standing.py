"""Say how a sweep stands, from its folder and SLURM's queue, and cancel its jobs. Imports no torch.

Any process can ask that, on any machine that sees the folder. It need not be the sweep's own.
"""

from collections import Counter
from pathlib import Path

from imgrec import lease, runfolder, text_files
from imgrec.errors import UsageError, shown
from imgrec.records import Record
from imgrec.runfolder import RECORD, SWEEP_LOCK
from imgrec.summary import headline, progress_of
from imgrec.sweeps import asked
from imgrec.sweeps.slurm import queue, submission
from imgrec.sweeps.slurm.queue import QueueError, Task

_ORDER = ("finished", "running", "queued", "pruned", "interrupted", "failed", "not begun")


def status(sweep: Path) -> str:
    """Return how many runs of a sweep are in which state, and a line for each that has not finished.

    Raises:
        UsageError: The folder is no sweep's.
    """
    _refuse_others(sweep)
    tasks, doubt = _tasks(sweep)
    rows: dict[str, tuple[str, str]] = {}
    for path in sorted(sweep.glob(f"*/{RECORD}")):
        record = runfolder.look(path.parent)
        if record is not None:
            rows[record.run_id] = _row(path.parent, record, tasks.pop(record.run_id, None))
    for run_id, task in tasks.items():
        if task.state == "RUNNING":
            rows[run_id] = "running", f"{_name(sweep, task)}  starting  ({task})"
        else:
            rows[run_id] = "queued", f"{_name(sweep, task)}  {_why(task)}"
    jobs = submission.newest(sweep)
    for run_id, name in asked.of(sweep).items():
        if run_id not in rows:
            told = f"{name}: {_no_record(jobs[run_id])}" if run_id in jobs and not doubt else ""
            rows[run_id] = "not begun", told
    counts = Counter(state for state, _ in rows.values())
    told = ", ".join(f"{counts[state]} {state}" for state in _ORDER if counts[state]) or "none has begun"
    head = f"{len(rows)} run{'' if len(rows) == 1 else 's'} in {shown(sweep)}: {told}"
    holder = lease.holder(sweep / SWEEP_LOCK)
    follows = "does not run at present" if holder is None else f"is under way: {holder.who}"
    lines = [f"{state:<11}  {line}" for state in _ORDER[1:] for is_in, line in rows.values() if is_in == state and line]
    return "\n".join([head, f"the sweep's command {follows}", *doubt, *lines])


def cancel(sweep: Path) -> str:
    """Cancel the sweep's jobs in SLURM's queue, and return what was done. Runs that have begun save first.

    Raises:
        UsageError: The folder is no sweep's.
        QueueError: SLURM does not answer.
    """
    _refuse_others(sweep)
    tasks = _of_sweep(sweep, queue.tasks())
    if not tasks:
        return f"{shown(sweep)} has no jobs in SLURM's queue; a sweep on this machine ends with Ctrl-C"
    queue.cancel([task.slurm_id for task in tasks.values()])
    running = sum(task.state == "RUNNING" for task in tasks.values())
    return (
        f"{len(tasks)} job{'' if len(tasks) == 1 else 's'} cancelled, {running} of them running, whose runs save first;"
        " the sweep's command submits them again when it is given"
    )


def _refuse_others(sweep: Path) -> None:
    if not (sweep / "multirun.yaml").is_file():
        raise UsageError(
            f"{shown(sweep)} must be the folder of a sweep, and holds no multirun.yaml; name the folder that"
            " hydra.sweep.dir gave, such as outputs/NAME"
        )


def _tasks(sweep: Path) -> tuple[dict[str, Task], list[str]]:
    """Return SLURM's jobs of the sweep by the ids of their runs, and a line if SLURM does not answer."""
    if not (sweep / submission.FOLDER).is_dir():
        return {}, []
    try:
        return _of_sweep(sweep, queue.tasks()), []
    except QueueError as error:
        return {}, [f"which runs wait in SLURM's queue is not known: {error}"]


def _of_sweep(sweep: Path, found: dict[tuple[str, int], Task]) -> dict[str, Task]:
    return submission.known(sweep, submission.newest(sweep), found)


def _row(folder: Path, record: Record, task: Task | None) -> tuple[str, str]:
    """Return the state of a run, and its line."""
    if record.status == "finished":
        return "finished", f"{folder.name}  {headline(record, validation=True)}"
    where = f"  ({task})" if task is not None else ""
    most = int(record.config.get("trainer.max_epochs", 0))
    if record.status == "running" or (task is not None and task.state == "RUNNING"):
        return "running", f"{folder.name}  {progress_of(folder, most)}{where}"
    if task is not None:
        return "queued", f"{folder.name}  {_why(task)}"
    reason = (record.error or "").partition(": ")[2] or progress_of(folder, most)
    return record.state, f"{folder.name}: {reason}"


def _why(task: Task) -> str:
    return f"{task} is {task.state}" + (f", as SLURM says: {task.why}" if task.reason else "")


def _no_record(job: Path) -> str:
    return f"its job has ended and left no record; {submission.last_words(job.with_suffix('.log'))}"


def _name(sweep: Path, task: Task) -> str:
    job = text_files.read_json(sweep / submission.FOLDER / task.token / f"{task.index}.json")
    return Path(str(job["folder"])).name
