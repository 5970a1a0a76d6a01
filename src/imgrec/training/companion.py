"""Train as another process than the first of a distributed run, which has the folder's lock and the record."""

import socket
import sys
import time
from pathlib import Path
from typing import NoReturn

from imgrec import checkpoint, disk, runfolder
from imgrec.data import workers
from imgrec.data.inventory import Inventory
from imgrec.data.sources import Load
from imgrec.errors import RunError, shown
from imgrec.job import Job
from imgrec.process_ends import BrokenConnectionError
from imgrec.runfolder import RECORD
from imgrec.training import failures, rendezvous
from imgrec.training.fitting import Fitting
from imgrec.training.interruption import Interruption

_LOOK = 0.2  # seconds between two looks for the run's folder


def train_along(job: Job, seen: Inventory, load: Load, interruption: Interruption) -> NoReturn:
    """Train, and exit."""
    if job.config.trainer.num_nodes > 1:
        _wait_for_folder(job.folder)
    foreign = checkpoint.unverified(runfolder.states(job.folder, job.parent))
    try:
        with interruption.watched():
            Fitting(job, seen, load=load, interruption=interruption).run()
            rendezvous.wait_until_over()
    except BrokenConnectionError:
        raise
    except (Exception, SystemExit) as raised:
        ahead = runfolder.ahead(job.folder)
        error = workers.told(raised, job.config.data.num_workers, ahead) or failures.explained(
            raised, job.folder, foreign
        )
        if error is raised:
            raise
        raise error from raised
    sys.exit(0)


def _wait_for_folder(folder: Path) -> None:
    """Wait until this machine sees the run's folder, in which the first process has written the record.

    Raises:
        RunError: It does not see it within a minute.
    """
    until = time.monotonic() + runfolder.SHOWN_AFTER
    while not (folder / RECORD).is_file():
        if time.monotonic() > until:
            raise RunError(
                f"{shown(folder)} must be on a file system that all machines of the run share, and"
                f" {socket.gethostname()} does not see the record there; give another hydra.run.dir"
            )
        time.sleep(_LOOK)
        disk.refresh(folder)
