"""Set the threads of a run's processes, as their number decides the order of sums, and with it the last bits."""

import os

import torch

from imgrec.config.trainer import Trainer
from imgrec.cores import THREADS, cores_each


def use(trainer: Trainer, noted: int = 0) -> None:
    """Set the number of threads of this process, which the record names, and of the run's other processes.

    Args:
        trainer: The settings of the run.
        noted: The number that an earlier process of the run used, for trainer.threads=0.
    """
    threads = trainer.threads or noted
    if not threads and trainer.processes > 1 and THREADS not in os.environ:
        threads = cores_each(trainer.devices)  # Lightning divides them so, once the record is written
    if threads:
        torch.set_num_threads(threads)
        if trainer.processes > 1:  # for the others, and so that Lightning does not divide
            os.environ[THREADS] = str(threads)
