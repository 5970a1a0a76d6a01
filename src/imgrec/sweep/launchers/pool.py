"""Define launcher=pool."""

from typing import TYPE_CHECKING

from imgrec.config.fields import setting
from imgrec.config.launcher import Launcher
from imgrec.config.registry import register

if TYPE_CHECKING:
    from imgrec.sweep.watch import Launcher as Runner


@register("launcher", "pool")
class Pool(Launcher):
    """Several runs of a sweep at a time, each in a process of its own, with GPUs or a share of the cores of its own."""

    processes: int = setting(
        0,
        "runs at a time; 0: as many as have trainer.devices GPUs each, without a GPU as many as have so many cores",
        identity=False,
        at_least=0,
        at_most=1024,
        way_out="0 takes the number from the machine",
    )

    def build(self) -> "Runner":
        """See `sweep.pool`."""
        from imgrec.sweep.pool import Pool

        return Pool(processes=self.processes)
