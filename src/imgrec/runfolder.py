"""Manage a run's folder: its layout, the run's state, and the lock of the process that uses it. Imports no torch.

outputs/<experiment>/<name>-<first digits of the run's id>/
config.yaml  record.json  curves.csv  diagnostics.json  predictions.npz  train.log  trained_images.bin
evaluations/  checkpoints/  tensorboard/  csv/  wandb/  their_runs.json  profile/
"""

import contextlib
import logging
import re
import threading
from collections.abc import Iterator
from pathlib import Path

from imgrec import curve_file, disk, lease, locking, predictions, records, tuning_file
from imgrec.config.identity import SHORT
from imgrec.config.root import Config
from imgrec.data import inventory, trained
from imgrec.data.inventory import Inventory
from imgrec.errors import RunError, UsageError, shown
from imgrec.records import Record

RECORD, CONFIG, CURVES, DIAGNOSTICS = "record.json", "config.yaml", curve_file.NAME, "diagnostics.json"
CHECKPOINTS, EVALUATIONS, TENSORBOARD, LOCK = "checkpoints", "evaluations", "tensorboard", "run.lock"
CSV, WANDB, THEIR_RUNS = "csv", "wandb", "their_runs.json"  # what other loggers write
PROFILE = "profile"
SWEEP_LOCK, ASKED, TUNING = "sweep.lock", "asked.json", tuning_file.NAME  # in the folder of a sweep's runs
SWEEP_FILES = (SWEEP_LOCK, ASKED, TUNING, "multirun.yaml", "optuna.db", "mlflow.db")
_WRITTEN = (
    *(RECORD, CONFIG, CURVES, DIAGNOSTICS, CHECKPOINTS, EVALUATIONS, TENSORBOARD, LOCK, "train.log", trained.NAME),
    *(predictions.NAME, CSV, WANDB, THEIR_RUNS, PROFILE),
    *(*SWEEP_FILES, "slurm"),
)
_MOST_DIGEST = 10_000  # bytes of a .sha256 file
_GENERATIONS = ("last.ckpt", "previous.ckpt")  # defined here too, as `checkpoint`, which defines them, imports torch
OUTPUTS = "outputs"  # in the working folder
_PROCESS_LOCK = threading.RLock()  # Hydra, PyTorch's settings and random states are shared by the whole process
SHOWN_AFTER = 60.0  # seconds for a shared file system to show a new file to another machine
VERIFICATIONS = "verify"  # in outputs/: repetitions of runs, with the ids of the runs that they verify

log = logging.getLogger(__name__)


def take_of(name: str) -> int:
    """Return which take of its run the folder's name denotes: 1, or more after repetitions with force=true."""
    number = re.search(r"_take-(\d+)-[0-9a-f]+$", name)
    return int(number[1]) if number else 1


def look(folder: Path) -> Record | None:
    """Return the record in the folder; None if there is none.

    Its status becomes `interrupted` where it says running and no process holds the lock. If it is not known whether
    the process of another machine still does, a warning says so, and the status stays.
    """
    path = folder / RECORD
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:  # a name that the file system refuses
        raise UsageError(f"{folder} cannot be a run's folder: {error.strerror}; give another path") from error
    record = records.read(path)
    if record.status != "running":
        return record
    found = lease.holder(folder / LOCK)
    if found is None:
        record = records.read(path)  # it may have ended between the two looks
        if record.status == "running":
            record.status = "interrupted"
    elif not found.known:
        log.warning(
            "%s: it is not known whether %s still runs it, as that takes a file that is written there; it counts as"
            " running",
            shown(folder),
            found.who,
        )
    return record


def written(folder: Path) -> Record | None:
    """Return the record in the folder as it is written there; None if there is none."""
    return records.read(folder / RECORD) if (folder / RECORD).is_file() else None


def has_state(folder: Path) -> bool:
    """Return True if the folder has a checkpoint to continue from."""
    return any((folder / CHECKPOINTS / name).exists() for name in _GENERATIONS)


def ahead(folder: Path) -> str:
    """Return what the same command does with the unfinished run in the folder, as the end of a sentence."""
    return "goes on from its last checkpoint" if has_state(folder) else "begins it again, as it has no checkpoint yet"


def record_of(folder: Path) -> Record:
    """Return the record in the folder, as `look`.

    Raises:
        UsageError: The folder contains no run.
    """
    record = look(folder)
    if record is None:
        raise UsageError(f"{folder} must be a run's folder with a {RECORD}, and has none; {name_one(folder)}")
    return record


def name_one(folder: Path) -> str:
    """Return advice for a user who named a folder that is no run's: the run around it, or the newest run in it."""
    if (folder.parent / RECORD).is_file():
        return f"name {folder.parent}"
    for pattern in (f"*/{RECORD}", f"*/*/{RECORD}"):
        if found := sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime_ns):
            return f"name one of the runs in it, such as {found[-1].parent}"
    return "name the folder of a run"


def images(run: Path, config: Config) -> Inventory:
    """Return the present state of the images that a run names.

    Raises:
        UsageError: They are not there; the advice is --data-root.
    """
    try:
        return inventory.take(config.data)
    except UsageError as error:
        wrong = f"{run} needs its images: {error.reason}"
        raise UsageError(wrong, way_out="name their place with --data-root") from error


def newest_state(folder: Path) -> str | None:
    """Return the digest of the run's newest checkpoint, `last`; None before the first one."""
    path = folder / CHECKPOINTS / "last.ckpt.sha256"
    if not path.is_file():
        return None
    try:
        with disk.opened(path) as file:
            return file.read(_MOST_DIGEST).decode()
    except FileNotFoundError:  # it is being replaced
        return None


def refuse_among(folder: Path, seen: Inventory) -> None:
    """Refuse a run's folder among the class folders of its images, where later runs would read it as a class."""
    if seen.listing is None:
        return
    own, root = folder.resolve(), seen.listing.root.resolve()
    for place in [root / name for name in seen.listing.folders.values()] or [root]:
        if own.is_relative_to(place) and not any(part.startswith(".") for part in own.relative_to(place).parts):
            named = shown(seen.listing.root)
            raise UsageError(
                f"data.root={named} must not hold the folder of its runs, and {shown(folder)} lies in it, where it"
                " would be taken for a class; put the class folders into a folder of their own, such as"
                f" {shown(seen.listing.root / 'images')}, or give hydra.run.dir (with -m: hydra.sweep.dir) outside of"
                f" {named}"
            )


def refuse_stranger(folder: Path, own: str) -> None:
    """Refuse a folder that contains another run."""
    record = look(folder)
    if record is not None and record.run_id != own:
        raise UsageError(
            f"{folder} must hold this run or none, and it holds run {record.run_id[:SHORT]}, not"
            f" {own[:SHORT]}; give another hydra.run.dir"
        )


def prepare(folder: Path) -> None:
    """Create the folder and check that it can be written to, before anything is computed.

    Raises:
        UsageError: A name that imgrec writes there is a link, as the folder may be another user's.
        RunError: The folder cannot be written to.
    """
    for name in _WRITTEN:
        refuse_link(folder / name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with disk.Partial(folder / RECORD):
            pass  # this only checks that a file can be created; it is removed at once
    except OSError as error:
        raise RunError(
            f"{folder} must be a folder that can be written to, got: {error.strerror}; give another hydra.run.dir,"
            " or call imgrec from another folder"
        ) from error


def refuse_link(path: Path) -> None:
    """Refuse to write through a link, as its target may be any file."""
    if path.is_symlink():
        raise UsageError(
            f"{shown(path)} must lie in its folder itself, as imgrec writes there, and is a link to"
            f" {shown(path.readlink())}; put what it names in its place, or remove it"
        )


@contextlib.contextmanager
def in_turn() -> Iterator[None]:
    """Let only one thread of this process work at a time, on runs in any folder."""
    with _PROCESS_LOCK:
        yield


@contextlib.contextmanager
def lock(folder: Path, name: str = LOCK) -> Iterator[None]:
    """Lock the folder for this process, until the block or the process ends, for any reason.

    Raises:
        RunError: Another process uses the folder, or it cannot be written to.
        LostFolderError: Another process has taken the folder meanwhile, as this one was stopped for minutes.
    """
    with locking.held(folder / name):
        yield


def is_locked(folder: Path, name: str = LOCK) -> bool:
    """Return True if some process holds the folder's lock of that name, or may hold it."""
    return lease.holder(folder / name) is not None


def states(folder: Path, parent: Path | None) -> Path:
    """Return the folder with the state that a run continues from: its own, else its parent's."""
    return folder / CHECKPOINTS if parent is None or has_state(folder) else parent / CHECKPOINTS
