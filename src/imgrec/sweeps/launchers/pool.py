"""Define launcher=pool."""

from typing import TYPE_CHECKING, ClassVar

from imgrec import sockets
from imgrec.config.fields import setting
from imgrec.config.launcher import Launcher
from imgrec.config.registry import register
from imgrec.errors import UsageError, shown

if TYPE_CHECKING:
    from imgrec.config.trainer import Trainer
    from imgrec.sweeps.watch import Launcher as Runner


@register("launcher", "pool")
class Pool(Launcher):
    """Several runs of a sweep at a time, each in a process of its own, with GPUs or a share of the cores of its own."""

    ends_early: ClassVar[bool] = True

    processes: int = setting(
        0,
        "runs at a time; 0: as many as have trainer.devices GPUs each, without a GPU as many as have so many cores",
        identity=False,
        at_least=0,
        at_most=1024,
        way_out="0 takes the number from the machine",
    )

    per_gpu: int = setting(
        0,
        "runs at a time on each GPU (experimental), in processes that each carry out several runs, one after the other;"
        " without a GPU there are as many of these as launcher.processes says; 0: a process for each run",
        identity=False,
        at_least=0,
        at_most=64,
        way_out="0 gives each run a process of its own",
    )

    def check(self, trainer: "Trainer") -> None:
        """See `Launcher`."""
        if self.per_gpu and trainer.processes > 1:
            key = "devices" if trainer.devices > 1 else "num_nodes"
            raise UsageError(
                f"launcher.per_gpu must be 0 for a distributed run, whose processes have GPUs of their own, got"
                f" {self.per_gpu} with trainer.{key}={getattr(trainer, key)}; leave one of the two out"
            )

    def build(self) -> "Runner":
        """See `sweep.pool`.

        Raises:
            UsageError: The temporary folder has no room for the sockets of its processes.
        """
        if (place := sockets.unusable()) is not None:
            raise UsageError(
                f"TMPDIR must be a path of at most {sockets.LONGEST} bytes for launcher=pool, whose processes meet in"
                f" sockets there, got {shown(place)}; set TMPDIR=/tmp, or give launcher=basic"
            )
        from imgrec.sweeps.pool import Pool

        return Pool(processes=self.processes, per_gpu=self.per_gpu)
