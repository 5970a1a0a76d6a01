"""Implement launcher=basic: carry out the runs of a sweep one after the other, in this process.

A distributed run gets a process of its own, as losing one of its processes may end the process that started it.
"""

import gc
from collections.abc import Sequence

from imgrec import execution
from imgrec.config.root import Config
from imgrec.errors import Interrupted, interruption_in, sentence
from imgrec.job import Job
from imgrec.sweep import pool
from imgrec.sweep.watch import Watch


class Basic:
    """Carry out the jobs one by one. Images in memory are loaded once for all runs of one process."""

    def at_a_time(self, configs: Sequence[Config]) -> int:
        """Return 1; see `Launcher`."""
        return 1

    def run(self, jobs: Sequence[Job], watch: Watch) -> None:
        """See `Launcher`."""
        from imgrec.data import sources  # imports torch, as does `_free`

        kept = sources.Kept()
        for job in jobs:
            if watch.stop:
                break
            _free()
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
                    raise cut from None
                watch.ended(job, sentence(error))
            else:
                watch.ended(job)
        _free()


def _free() -> None:
    """Free the memory of the previous run, whose callbacks and error contain reference cycles."""
    import torch

    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
