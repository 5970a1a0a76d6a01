"""Carry out one run in this process, with its folder, log and record."""

import socket
from dataclasses import replace
from typing import TYPE_CHECKING

from imgrec import codechange, gpus, ranks, runfolder, runlog
from imgrec.config import outside_errors
from imgrec.errors import BrokenGpuError, Interrupted
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
    shared: int = 1,
) -> Record:
    """Carry out the job, from the beginning or from the newest checkpoint in its folder.

    A finished run is not repeated.

    Args:
        job: The run.
        swept: True for a run of a sweep. It writes only into its train.log, draws no bar, and lets the sweep put a
            SLURM job back into the queue.
        load: Loads the images; None for `sources.load`, which reads them from disk.
        interruption: Notes the signals; None for a new `Interruption`.
        shared: The number of runs at a time that share the GPU.

    Returns:
        The record of the finished run.

    Raises:
        UsageError, RunError: The run cannot be carried out, or has failed.
        Interrupted: The process was asked to end. The run is saved.
    """
    from imgrec import distributed  # imports torch, as do the others
    from imgrec.training.interruption import requeue
    from imgrec.training.run import train

    ranks.refuse(job.config.trainer.devices, job.config.trainer.num_nodes)
    distributed.refuse_joined()
    codechange.refuse_other(job.code)
    if job.has_gpus and job.config.trainer.accelerator != "cpu":
        try:
            gpus.check_given(gpus.handed_out())
        except BrokenGpuError as error:
            raise BrokenGpuError(
                f"the GPUs that the launcher asked for cannot be used on {socket.gethostname()}: {error.reason}",
                way_out="exclude that node, or ask for none and give trainer=cpu",
            ) from error
    job = replace(job, folder=job.folder.absolute())  # the program may change its folder meanwhile
    if ranks.rank() == 0:
        runfolder.prepare(job.folder)
    trainer = job.config.trainer
    if swept and trainer.progress != "none":
        job = replace(job, config=replace(job.config, trainer=replace(trainer, progress="plain")))
    quiet = swept or ranks.rank() > 0  # the first process of a distributed run speaks
    with runlog.refusing_disk(), runlog.kept(job.folder, quiet=quiet, verbose=job.verbose):
        try:
            return train(job, load=load, interruption=interruption, shared=shared)
        except Interrupted as cut:
            if not swept:
                requeue(cut)
            raise
        except Exception as error:
            if (told := outside_errors.explained(error)) is not None:  # before the record was begun
                raise told from error
            raise
