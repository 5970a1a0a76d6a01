"""One run in this process: its folder, its log and its record."""

import signal
from dataclasses import replace
from typing import TYPE_CHECKING

from imgrec import ddp_processes, runfolder, runlog
from imgrec.errors import Interrupted
from imgrec.job import Job
from imgrec.records import Record

if TYPE_CHECKING:
    from imgrec.data.sources import Load
    from imgrec.training.interruption import Interruption


def run(
    job: Job,
    *,
    swept: bool = False,
    load: "Load | None" = None,
    interruption: "Interruption | None" = None,
) -> Record:
    """Carry the job out: from the beginning, or on from the newest checkpoint in its folder.

    A finished run is left as it is.

    Args:
        job: The run.
        swept: True for a run of a sweep. It writes into its train.log alone, draws no bar, and leaves it to the sweep
            to put a SLURM job back into the queue.
        load: Loads the images, where something else than `sources.load` does, which reads them from disk.
        interruption: Notes the signals, where something else than a new `Interruption` does.

    Returns:
        The record of the finished run.

    Raises:
        UsageError, RunError: The run cannot be carried out, or has failed.
        Interrupted: The process was asked to end. The run is saved.
    """
    from imgrec.training.interruption import requeue
    from imgrec.training.run import train  # imports torch

    ddp_processes.refuse_foreign_rank()
    job = replace(job, folder=job.folder.absolute())  # a program may go to another folder meanwhile
    if ddp_processes.rank() == 0:
        runfolder.prepare(job.folder)
    trainer = job.config.trainer
    if swept and trainer.progress != "none":
        job = replace(job, config=replace(job.config, trainer=replace(trainer, progress="plain")))
    with runlog.refusing_disk(), runlog.kept(job.folder, quiet=swept, verbose=job.verbose):
        try:
            return train(job, load=load, interruption=interruption)
        except Interrupted as cut:
            if not swept and cut.exit_code == 128 + signal.SIGUSR1 and ddp_processes.rank() == 0:
                requeue()
            raise
