"""launcher=basic: the runs of a sweep one after the other, in this process."""

from collections.abc import Sequence

from imgrec import launch
from imgrec.errors import Interrupted, interruption_in, sentence
from imgrec.sweep.jobs import Job, surroundings
from imgrec.sweep.ledger import Ledger


def run(jobs: Sequence[Job], ledger: Ledger, *, stop_at_failure: bool) -> None:
    """Carry the jobs out. A failing one is taken down in the ledger; Interrupted ends them all."""
    from imgrec.data import sources  # imports torch

    with sources.kept():
        for job in jobs:
            ledger.began(job)
            try:
                with surroundings():
                    launch.carry_out(job.words, job.folder, quiet=True)
            except (Exception, Interrupted) as error:
                if cut := interruption_in(error):
                    ledger.cut(job)
                    raise cut from None
                ledger.ended(job, sentence(error))
                if stop_at_failure:
                    return
            else:
                ledger.ended(job)
