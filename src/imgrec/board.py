"""TensorBoard's HPARAMS table of a folder of runs: its columns are what differs between them. Imports no torch.

A run cannot know what later ones vary, so the columns are written anew from the records in the folder: when a run by
itself or a sweep ends, and now and then while a sweep goes on. TensorBoard keeps the first message that it reads in a
place, so other columns lie under another name.
"""

import contextlib
import fcntl
import hashlib
import logging
import math
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from imgrec import hparams, records
from imgrec.config.identity import SHORT
from imgrec.disk import Partial, clean
from imgrec.errors import RunError
from imgrec.hparams import Column
from imgrec.records import Record
from imgrec.runfolder import OUTPUTS, RECORD, SWEEP_LOCK, TENSORBOARD
from imgrec.tables import factors, images
from imgrec.tables.gather import Run

_FOLDER = re.compile(rf"hparams-[0-9a-f]{{{SHORT}}}")
_EVENTS = "events.out.tfevents.0.imgrec"

log = logging.getLogger(__name__)


def summarise(folder: Path, *, test: bool = True, at_most_every: float = 0) -> None:
    """Write which columns the HPARAMS table of the folder's runs has; without event files of runs, nothing.

    test: with columns of test scores, unless a run there is running or interrupted. at_most_every: leave a table as it
    is that is not older than this, in seconds, and has no test scores. A folder that is not imgrec's own stays as it
    is: hydra.run.dir puts a run anywhere, and the folder around it is the user's. Raises RunError where the disk
    refuses.
    """
    if not _is_own(folder) or not any(folder.glob(f"*/{TENSORBOARD}")):
        return
    try:
        with _alone(folder):
            if _age(folder) < at_most_every:
                return
            found = _runs(folder)
            runs = [run for run in found if (folder / run.name / TENSORBOARD).is_dir()]
            images.name([run.record for run in runs])
            test &= all(run.record.status in ("finished", "failed") for run in found)
            if any(run.name.endswith(f"-{run.record.run_id[:SHORT]}") for run in runs):
                _replace(folder, _message(runs, test=test))
                _date(folder, old=test)
    except OSError as error:
        raise RunError(
            f"{error.filename or folder} cannot be written, so that TensorBoard's HPARAMS stays as it was:"
            f" {error.strerror or error}; free the disk and start the same command again"
        ) from error


def _is_own(folder: Path) -> bool:
    """Whether imgrec chose the folder: a sweep's, or a group below outputs/."""
    above = folder.resolve().parent
    return (folder / SWEEP_LOCK).is_file() or above.name == OUTPUTS or above == Path(OUTPUTS).resolve()


def _runs(folder: Path) -> list[Run]:
    """The runs in the folder, without those whose records cannot be read."""
    found = []
    for path in sorted(folder.glob(f"*/{RECORD}")):
        if not path.is_file():
            continue
        try:
            found.append(Run(path=path, folder=path.parent, record=records.read(path)))
        except RunError as error:
            log.warning("not in TensorBoard's HPARAMS: %s", error)
    return found


def _tables(folder: Path) -> list[Path]:
    """The folders of this module there."""
    found = [path for path in folder.glob("hparams-*") if _FOLDER.fullmatch(path.name)]
    return [path for path in found if path.is_dir() and not path.is_symlink()]


def _age(folder: Path) -> float:
    """Seconds since the table was last renewed; infinity without one, or where the clock has been put back."""
    dates = [events.stat().st_mtime for path in _tables(folder) if (events := path / _EVENTS).is_file()]
    age = time.time() - max(dates, default=0)
    return age if dates and age >= 0 else math.inf


def _date(folder: Path, *, old: bool) -> None:
    """Note that the table is new, also where it stayed the same. old: that the next run of a sweep has to renew it."""
    for path in _tables(folder):
        if (path / _EVENTS).is_file():
            os.utime(path / _EVENTS, (0, 0) if old else None)


def _message(runs: Sequence[Run], *, test: bool) -> Summary:
    """The columns: what differs between the runs, seeds included; what differs from the defaults where nothing does."""
    keys = list(factors.derive(runs).keys)
    if len({run.seed for run in runs}) > 1:
        keys.append("seed")
    if not keys:
        keys = [key for key, _ in factors.training(runs[0].record)]
    columns = [Column(key=key, values=_values(runs, key)) for key in map(hparams.column_of, keys)]
    scores = [score for run in runs for score in run.record.scores if test or score.split != "test"]
    present = {(score.split, score.metric, score.at) for score in scores}
    return hparams.table([column for column in columns if column.values], hparams.score_tags(present))


def _values(runs: Sequence[Run], key: str) -> list[hparams.Value]:
    """What the runs have in the column, each once; nothing of runs whose choice does not have its key."""
    found = (_of_run(run.record).get(key) for run in runs)
    return list(dict.fromkeys(value for value in found if value is not None))


def _of_run(record: Record) -> dict[str, hparams.Value]:
    return hparams.values_of(record.config, Path(record.parent).name if record.parent else None)


def _replace(folder: Path, message: Summary) -> None:
    """Put the message into a folder named by its content, and remove the one before."""
    text = message.SerializeToString(deterministic=True)
    own = folder / f"hparams-{hashlib.sha256(text).hexdigest()[:SHORT]}"
    if not (own / _EVENTS).is_file():
        own.mkdir(exist_ok=True)
        with Partial(own / _EVENTS) as new:
            events = RecordWriter(new.file)
            events.write(Event(wall_time=0, file_version="brain.Event:2").SerializeToString())
            events.write(Event(wall_time=0, summary=message).SerializeToString())
            new.place()
    for other in _tables(folder):
        if other != own:
            _remove(other)


def _remove(folder: Path) -> None:
    """Remove a folder that this module made; what else lies in it stays, and the folder with it."""
    (folder / _EVENTS).unlink(missing_ok=True)
    clean(folder)
    with contextlib.suppress(OSError):  # somebody else's file lies in it
        folder.rmdir()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let the processes of a sweep write one after the other; the last one sees the records of all."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: two writers at a moment are rare
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
