"""Implement launcher=basic: carry out the runs of a sweep one after the other, in this process.

A distributed run gets a process of its own, as losing one of its processes may end the process that started it. An
error that marks a GPU as broken, or after which CUDA fails in this process, ends the sweep.
"""

from collections.abc import Sequence

from imgrec import allocator, execution, gpus
from imgrec.config.root import Config
from imgrec.errors import BrokenGpuError, Interrupted, interruption_in, sentence
from imgrec.job import Job
from imgrec.sweeps import pool
from imgrec.sweeps.watch import StoppedError, Watch


class Basic:
    """Carry out the jobs one by one. Images in memory are loaded once for all runs of one process."""

    def at_a_time(self, configs: Sequence[Config]) -> int:
        """Return 1; see `Launcher`."""
        return 1

    def run(self, jobs: Sequence[Job], watch: Watch) -> None:
        """See `Launcher`."""
        from imgrec.data import sources  # imports torch

        kept = sources.Kept()
        for job in jobs:
            if watch.stop:
                break
            allocator.free_unused()
            if job.config.trainer.devices > 1:
                pool.alone(job, watch)
                continue
            watch.began(job)
            try:
                execution.run(job, swept=True, load=kept.load)
            except (Exception, Interrupted) as error:
                if cut := interruption_in(error):
                    if (record := job.record()) is not None and record.status == "finished":
                        watch.ended(job)
                    else:
                        watch.cut(job)
                    cut.saved = None  # the sweep goes on, whether or not this run was saved
                    raise cut from None
                _end(job, error, watch)
            else:
                watch.ended(job)
        allocator.free_unused()


def _end(job: Job, error: BaseException, watch: Watch) -> None:
    """Report the end of a job after an error.

    Raises:
        StoppedError: CUDA or a GPU is of no use to the next run either.
    """
    if isinstance(error, BrokenGpuError):
        record = job.record()
        name = record.environment.get("device", "the GPU") if record is not None else "the GPU"
        watch.cut(job, error.reason)
        raise StoppedError(
            f"{name} cannot be used: {error.reason}; mend it, or name another in {gpus.VISIBLE}, and start the same"
            " command again: it goes on with what is left"
        ) from error
    watch.ended(job, sentence(error))
    if (reason := gpus.lost()) is not None:
        raise StoppedError(
            f"CUDA has failed in this process, and each later run in it would fail too, got: {reason}; start the same"
            " command again: it goes on with what is left (launcher=pool gives each run a process of its own)"
        ) from error
