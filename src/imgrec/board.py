"""Write TensorBoard's HPARAMS table of a folder of runs, with a column for each difference. Imports no torch.

A run cannot know what later runs vary. So the columns are written again from the records in the folder when a single
run or a sweep ends, and from time to time during a sweep. TensorBoard keeps the first message that it reads from a
folder, so a message with other columns has a folder of another name.
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
    """Write the columns of the HPARAMS table of the folder's runs. Without event files of runs, do nothing.

    A folder that imgrec did not choose is not changed, as hydra.run.dir may put a run into any folder of the user's.

    Args:
        folder: The folder of the runs.
        test: True to include test scores, unless a run there is running or interrupted.
        at_most_every: Seconds; a newer table without test scores is not replaced.

    Raises:
        RunError: The disk refuses.
    """
    if not _is_own(folder) or not any(folder.glob(f"*/{TENSORBOARD}")):
        return
    try:
        with _exclusive(folder):
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
    """Return True if imgrec chose the folder: a sweep's, or a group below outputs/."""
    above = folder.resolve().parent
    return (folder / SWEEP_LOCK).is_file() or above.name == OUTPUTS or above == Path(OUTPUTS).resolve()


def _runs(folder: Path) -> list[Run]:
    """Return the runs in the folder, without those whose records cannot be read."""
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
    """Return the folders that this module made there."""
    found = [path for path in folder.glob("hparams-*") if _FOLDER.fullmatch(path.name)]
    return [path for path in found if path.is_dir() and not path.is_symlink()]


def _age(folder: Path) -> float:
    """Return the seconds since the table was last written; infinity if there is none, or the clock was put back."""
    dates = [events.stat().st_mtime for path in _tables(folder) if (events := path / _EVENTS).is_file()]
    age = time.time() - max(dates, default=0)
    return age if dates and age >= 0 else math.inf


def _date(folder: Path, *, old: bool) -> None:
    """Set the table's time to now, even if its content is unchanged.

    Args:
        folder: The folder of the runs.
        old: True to make the next run of a sweep write the table again.
    """
    for path in _tables(folder):
        if (path / _EVENTS).is_file():
            os.utime(path / _EVENTS, (0, 0) if old else None)


def _message(runs: Sequence[Run], *, test: bool) -> Summary:
    """Return the columns: the differences between the runs, with seeds, or else the differences from defaults."""
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
    """Return the runs' different values in the column. Runs whose choice does not have the key are left out."""
    found = (_of_run(run.record).get(key) for run in runs)
    return list(dict.fromkeys(value for value in found if value is not None))


def _of_run(record: Record) -> dict[str, hparams.Value]:
    return hparams.values_of(record.config, Path(record.parent).name if record.parent else None)


def _replace(folder: Path, message: Summary) -> None:
    """Write the message into a folder named by its content, and remove the previous one."""
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
    """Remove a folder that this module made. If it contains other files, they and the folder stay."""
    (folder / _EVENTS).unlink(missing_ok=True)
    clean(folder)
    with contextlib.suppress(OSError):  # it contains another program's file
        folder.rmdir()


@contextlib.contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Let the processes of a sweep write one after the other; the last one then sees all records."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: two simultaneous writers are rare
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
