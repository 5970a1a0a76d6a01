"""A run's folder: where it lies, what state it is in, who works in it. Imports no torch.

outputs/<experiment>/<name>-<first digits of the run's id>/
config.yaml  record.json  curves.csv  diagnostics.json  train.log  trained_images.bin
evaluations/  checkpoints/  tensorboard/
"""

import contextlib
import fcntl
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imgrec import disk, records
from imgrec.config import plain
from imgrec.config.identity import SHORT, run_id, run_name
from imgrec.config.root import Config, elsewhere
from imgrec.data import inventory, trained
from imgrec.data.inventory import Inventory
from imgrec.errors import RunError, UsageError, shown
from imgrec.records import Record

RECORD, CONFIG, CURVES, DIAGNOSTICS = "record.json", "config.yaml", "curves.csv", "diagnostics.json"
CHECKPOINTS, EVALUATIONS, TENSORBOARD, LOCK = "checkpoints", "evaluations", "tensorboard", "run.lock"
SWEEP_LOCK, TUNING = "sweep.lock", "tuning.json"  # in the folder of a sweep's runs
_WRITTEN = (
    *(RECORD, CONFIG, CURVES, DIAGNOSTICS, CHECKPOINTS, EVALUATIONS, TENSORBOARD, LOCK, "train.log", trained.NAME),
    *(SWEEP_LOCK, TUNING, "multirun.yaml", "optuna.db"),
)
_GENERATIONS = ("last.ckpt", "previous.ckpt")  # as `checkpoint`, which imports torch, names them
OUTPUTS = "outputs"  # in the working folder
_ONE_AT_A_TIME = threading.RLock()  # Hydra, PyTorch's settings and random states belong to the whole process
VERIFICATIONS = "verify"  # in outputs/: runs done again, with the ids of those that they verify


def identity(config: Config, fingerprint: str, parent: Path | None = None, folder: Path | None = None) -> str:
    """The run's id: its configuration's essence, its data's fingerprint, and the run that it went on from.

    folder: the run's own, where it has one: where it has a state, its record knows a parent that is gone.
    """
    if parent is None:
        return run_id(config, fingerprint)
    own = look(folder) if folder is not None and has_state(folder) else None
    if own is not None and own.parent_id is not None and own.parent == str(parent):
        return run_id(config, fingerprint, own.parent_id)
    return run_id(config, fingerprint, record_of(parent).run_id)


def parent_of(folder: Path, record: Record) -> Path | None:
    """Where the run lies now that the run in `folder` went on from; None for one that began with a new network.

    It is looked for where it lay, and about the folder, in case both were moved; its id decides. Where it is nowhere,
    the recorded place. Raises RunError where it is nowhere, and the record is too old to know its id.
    """
    if record.parent is None:
        return None
    named = Path(record.parent)
    tails = [Path(*named.parts[-count:]) for count in (1, 2, 3) if count <= len(named.parts)]
    tails += [] if named.is_absolute() else [named]
    near = [base / tail for base in folder.resolve().parents for tail in tails]
    beside = f"*-{record.parent_id[:SHORT]}" if record.parent_id else "*"
    for place in (named, *near, *folder.resolve().parent.glob(beside)):
        try:
            found = look(place)
        except RunError:
            if place == named:
                raise
            continue  # a damaged record beside it is of another run, as far as can be known
        if found is not None and _is_parent(found, record):
            return place
    if record.parent_id is None:
        raise RunError(
            f"{shown(folder)} went on from the run in {shown(named)}, which is not there, and its record is too old to"
            f" know it by its id; put that run beside {shown(folder)}"
        )
    return named


def _is_parent(found: Record, record: Record) -> bool:
    if record.parent_id is not None:
        return found.run_id == record.parent_id
    return run_id(plain.from_flat(record.config), record.fingerprint, found.run_id) == record.run_id


def start(config: Config) -> str | None:
    """The working directory, where a path of the configuration starts from it; None where none does."""
    root = getattr(config.data, "root", None)
    return None if root is None or Path(root).expanduser().is_absolute() else str(Path.cwd())


def settled(folder: Path, record: Record, config: Config) -> Config:
    """The run's configuration with its images where they lie now, if it names them by a relative path.

    That path started from where the run was started, which may have been moved together with the run. Of the folders
    that it leads to, the first one with the run's images counts; where none has them, the first one.
    """
    root = getattr(config.data, "root", None)
    if root is None or start(config) is None:
        return config
    bases = (Path.cwd(), *([Path(record.cwd)] if record.cwd else []), *folder.resolve().parents)
    places = list({place.resolve(): place for base in bases if (place := base / root).is_dir()}.values())
    if not places:
        return config
    found = places[0] if len(places) == 1 else next((one for one in places if _holds(one, record, config)), places[0])
    return config if Path(root).is_dir() and found.samefile(root) else elsewhere(config, str(found))


def _holds(place: Path, record: Record, config: Config) -> bool:
    """Whether the run's images lie there."""
    try:
        return inventory.take(elsewhere(config, str(place)).data).known_as(record.fingerprint) is not None
    except (RunError, UsageError):  # a folder of anything else
        return False


def group(config: Config) -> Path:
    """The folder that the run's folder lies in: outputs/<study, or experiment, or default>."""
    return Path(OUTPUTS) / (config.study or config.experiment or "default")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run lies, or will lie, its id, and its images as that id knows them."""

    folder: Path
    run_id: str
    seen: Inventory


def place(
    config: Config,
    overrides: Sequence[str],
    seen: Inventory,
    parent: Path | None = None,
    *,
    folder: Path | None = None,
    within: Path | None = None,
) -> Place:
    """Look the run up by its id, then by the id that it had while a folder was known by names and sizes alone.

    A run that is found by its older id keeps it, and `force` trains a finished one anew under the newer. folder: the
    run's, where it is known. within: the folder to look in, instead of `group`'s.
    """
    own = identity(config, seen.fingerprint, parent, folder)
    if seen.older is not None:
        earlier = identity(config, seen.older.fingerprint, parent, folder)
        where = [folder] if folder is not None else _takes(within or group(config), earlier)
        record = look(where[-1]) if where else None
        known = folder is None and bool(_takes(within or group(config), own))
        again = folder is None and config.force and record is not None and record.status == "finished"
        if record is not None and record.run_id == earlier and not known and not again:
            return Place(folder=where[-1], run_id=earlier, seen=seen.older)
    return Place(folder=folder or locate(config, overrides, own, within=within), run_id=own, seen=seen)


def unknown_contents(folder: Path, *, anew: str | None = None) -> str:
    """What is said of a run whose images are known by names and sizes alone.

    anew: what to give to train it anew, where that helps.
    """
    way_out = f"; to train with images that are known by their contents, give {anew}" if anew else ""
    return (
        f"{shown(folder)}: its record knows the images by names and sizes alone, so whether they contain what they did"
        f" then is unknown{way_out}"
    )


def locate(config: Config, overrides: Sequence[str], own: str, *, within: Path | None = None) -> Path:
    """The run's folder: the newest one that holds a run of this id, else a new name that reads.

    With force=true, a new folder beside a finished one. own: the run's id. within: the folder to look in, instead of
    `group`'s.
    """
    folder = within or group(config)
    present = _takes(folder, own)
    if not present:
        return folder / run_name(config, overrides, own)
    newest = present[-1]
    record = look(newest)
    if config.force and record and record.status == "finished":
        stem, _, digits = present[0].name.rpartition("-")
        return newest.with_name(f"{stem.partition('_take-')[0]}_take-{take_of(newest.name) + 1}-{digits}")
    return newest


def _takes(folder: Path, own: str) -> list[Path]:
    """The folders of that id, oldest first."""
    found = []
    for path in folder.glob(f"*-{own[:SHORT]}"):
        if (path / RECORD).is_file() and records.read(path / RECORD).run_id == own:
            found.append((path.stat().st_ctime_ns, path))
    # a take's number, where there is one, is surer than the clock
    return [path for _, path in sorted(found, key=lambda item: (take_of(item[1].name), item[0]))]


def take_of(name: str) -> int:
    """How often the run of that folder's name had been done, this time included (force=true)."""
    number = re.search(r"_take-(\d+)-[0-9a-f]+$", name)
    return int(number[1]) if number else 1


def look(folder: Path) -> Record | None:
    """The record in the folder; `interrupted` where it says running and nobody holds the lock. None without one."""
    path = folder / RECORD
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:  # a name that no file system takes
        raise UsageError(f"{folder} cannot be a run's folder: {error.strerror}; give another path") from error
    record = records.read(path)
    if record.status == "running" and not is_locked(folder):
        record.status = "interrupted"
    return record


def has_state(folder: Path) -> bool:
    """Whether a run left a state there to go on from."""
    return any((folder / CHECKPOINTS / name).exists() for name in _GENERATIONS)


def record_of(folder: Path) -> Record:
    """As `look`. Raises UsageError for a folder that holds no run."""
    record = look(folder)
    if record is None:
        raise UsageError(f"{folder} must be a run's folder with a {RECORD}, and has none; {name_one(folder)}")
    return record


def name_one(folder: Path) -> str:
    """The way out for who named a folder that is no run's: the run around it, or the newest one in it."""
    if (folder.parent / RECORD).is_file():
        return f"name {folder.parent}"
    for pattern in (f"*/{RECORD}", f"*/*/{RECORD}"):
        if found := sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime_ns):
            return f"name one of the runs in it, such as {found[-1].parent}"
    return "name the folder of a run"


def images(run: Path, config: Config) -> Inventory:
    """The images that a run names, as they lie there now.

    Raises UsageError, whose way out is --data-root, where there are none.
    """
    try:
        return inventory.take(config.data)
    except UsageError as error:
        reason, _, _ = str(error).rpartition(";")
        raise UsageError(f"{run} needs its images: {reason}; name their place with --data-root") from error


def newest_state(folder: Path) -> str | None:
    """The digest of the run's newest checkpoint, `last`; None before the first one."""
    path = folder / CHECKPOINTS / "last.ckpt.sha256"
    return path.read_text() if path.is_file() else None


def refuse_among(folder: Path, seen: Inventory) -> None:
    """Refuse a run's folder among the class folders of its images, where it would count as a class from then on."""
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
    """Refuse a folder that holds another run."""
    record = look(folder)
    if record is not None and record.run_id != own:
        raise UsageError(
            f"{folder} must hold this run or none, and it holds run {record.run_id[:SHORT]}, not"
            f" {own[:SHORT]}; give another hydra.run.dir"
        )


def prepare(folder: Path) -> None:
    """Make the folder and see that it can be written to, before anything is computed.

    Raises UsageError where a link lies under a name that imgrec writes there: the folder may be a stranger's.
    """
    for name in _WRITTEN:
        refuse_link(folder / name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with disk.Partial(folder / RECORD):
            pass  # that a file can be made is all there is to see; it is removed at once
    except OSError as error:
        raise RunError(
            f"{folder} must be a folder that can be written to, got: {error.strerror}; give another hydra.run.dir,"
            " or call imgrec from another folder"
        ) from error


def refuse_link(path: Path) -> None:
    """Refuse to write through a link: what lies behind it may be anybody's."""
    if path.is_symlink():
        raise UsageError(
            f"{shown(path)} must lie in its folder itself, as imgrec writes there, and is a link to"
            f" {shown(path.readlink())}; put what it names in its place, or remove it"
        )


@contextlib.contextmanager
def in_turn() -> Iterator[None]:
    """Let one thread of this process work at a time, on runs in whatever folders."""
    with _ONE_AT_A_TIME:
        yield


@contextlib.contextmanager
def lock(folder: Path, name: str = LOCK) -> Iterator[None]:
    """Hold the folder for this process. The lock dies with its owner, however that ends.

    Raises RunError when another process works there, or the file system has no locks.
    """
    try:
        file = os.fdopen(disk.appending(folder / name), "a")
    except OSError as error:
        raise RunError(f"{shown(folder / name)} must be a file to lock: {error.strerror}; remove it") from error
    with file:
        for patience in (0.02, 0.05, 0.1, 0.0):  # somebody who merely looks holds it for a moment
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if not patience:
                    raise RunError(f"{folder} is in use: another process runs it; wait for it, or stop it") from error
                time.sleep(patience)
            except OSError as error:
                raise RunError(
                    f"{folder / name} cannot be locked: {error.strerror}; give a hydra.run.dir on a disk that has flock"
                ) from error
        yield


def is_locked(folder: Path, name: str = LOCK) -> bool:
    """Whether some process holds the folder by the lock of that name."""
    try:
        with disk.opened(folder / name) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: those who look do not see each other
            return False
    except BlockingIOError:
        return True
    except OSError:  # no lock was ever taken, or the file system has none
        return False
