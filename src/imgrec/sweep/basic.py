"""launcher=basic: the runs of a sweep one after the other, in this process."""

import gc
from collections.abc import Sequence

from imgrec import launch
from imgrec.errors import Interrupted, interruption_in, sentence
from imgrec.sweep.jobs import Job, surroundings
from imgrec.sweep.ledger import Ledger
from imgrec.training.interruption import Interruption


def run(jobs: Sequence[Job], ledger: Ledger, interruption: Interruption, *, stop_at_failure: bool) -> bool:
    """Carry the jobs out. A failing one is taken down in the ledger; Interrupted ends them all.

    interruption: the sweep's, which is asked before each run: what its handler raises may be lost between two runs.

    Returns True if none failed.
    """
    from imgrec.data import sources  # imports torch, as does `_free`

    went_well = True
    with sources.kept():
        for job in jobs:
            _free()
            interruption.raise_if_asked()
            ledger.began(job)
            try:
                with surroundings():
                    seen = job.seen.fingerprint
                    launch.carry_out(job.words, job.folder, job.config, fingerprint=seen, quiet=True)
            except (Exception, Interrupted) as error:
                if cut := interruption_in(error):
                    if (record := job.record()) is not None and record.status == "finished":
                        ledger.ended(job)
                    else:
                        ledger.cut(job)
                    raise cut from None
                ledger.ended(job, sentence(error))
                went_well = False
                if stop_at_failure:
                    break
            else:
                ledger.ended(job)
    _free()
    return went_well


def _free() -> None:
    """Give back what the run before still holds: its callbacks, or its error, refer to themselves in circles."""
    import torch

    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
