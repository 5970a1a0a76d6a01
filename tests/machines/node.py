"""A process that plays a machine's part: it carries out commands from its standard input, and answers each in a line.

Its leases last as many seconds as its first word says.
"""

import contextlib
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

from imgrec import disk, lease, locking, runfolder, text_files
from imgrec.errors import RunError

lease.LEASE = float(sys.argv[1])
lease.RENEWED = lease.LEASE / 8
locking._FRESH, locking._LOOK, locking._LEAVING = lease.LEASE / 16, 0.05, 0.5
held = contextlib.ExitStack()


def take(folder: str, at: str = "0") -> str:
    """Take the folder, at that time of `elapsed` if it is still to come."""
    time.sleep(max(0.0, float(at) - locking.process_identity.elapsed()))
    held.enter_context(runfolder.lock(Path(folder)))
    return "taken"


def leave() -> str:
    held.close()
    return "left"


def write(path: str, text: str) -> str:
    text_files.write_text(Path(path), text)
    return "written"


def look(folder: str) -> str:
    record = runfolder.look(Path(folder))
    return record.status if record is not None else "nothing"


def settled(folder: str) -> str:
    """Ask for the record of a job that has just ended."""
    from imgrec.config.compose import compose
    from imgrec.job import Job
    from imgrec.sweeps import jobs

    job = Job(config=compose(["data=digits"]), folder=Path(folder), run_id="", fingerprint="")
    over, record = jobs.settled(job, time.monotonic())
    return "no" if not over else record.status if record is not None else "nothing"


def read(path: str) -> str:
    return disk.content(Path(path), most=100).decode()


def begin(path: str) -> str:
    """Begin to write a file, and do not end it."""
    held.enter_context(disk.Partial(Path(path))).file.write(b"half")
    return "begun"


logging.basicConfig(level=logging.WARNING, format="%(message)s")
commands: dict[str, Callable[..., str]] = {
    each.__name__: each for each in (take, leave, write, look, read, begin, settled)
}
print("ready", flush=True)
for line in sys.stdin:
    name, *words = line.split()
    try:
        answer = commands[name](*words)
    except RunError as error:
        answer = f"{type(error).__name__}: {error}"
    print(answer, flush=True)
