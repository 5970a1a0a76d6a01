"""Define launcher=ray."""

from typing import TYPE_CHECKING, ClassVar

from imgrec.config.fields import setting
from imgrec.config.launcher import Launcher
from imgrec.config.registry import register
from imgrec.errors import UsageError

if TYPE_CHECKING:
    from imgrec.config.trainer import Trainer
    from imgrec.sweeps.watch import Launcher as Runner


@register("launcher", "ray")
class Ray(Launcher):
    """The runs of a sweep as tasks of a Ray cluster, each in a process of its own; install the extra "ray".

    The nodes need the same Python environment, and see the same folders. The tasks end with the sweep's command, and
    the same command goes on with them.
    """

    elsewhere: ClassVar[bool] = True
    ends_early: ClassVar[bool] = True

    address: str | None = setting(
        None,
        "address of the cluster, or auto for the one that is found; null: start one on this machine",
        identity=False,
    )
    num_cpus: int = setting(1, "CPUs of a run, each process of which has so many threads", identity=False, at_least=1)
    num_gpus: float = setting(0.0, "GPUs of a run; less than 1 lets several runs share one", identity=False, at_least=0)
    retries: int = setting(
        2, "times that a run is submitted again after its worker or its node was lost", identity=False, at_least=0
    )

    def check(self, trainer: "Trainer") -> None:
        """See `Launcher`."""
        if trainer.num_nodes > 1:
            raise UsageError(
                f"trainer.num_nodes must be 1 with launcher=ray, whose runs stay on one node each, got"
                f" {trainer.num_nodes}; give trainer.num_nodes=1, or launcher=slurm"
            )
        if trainer.accelerator == "gpu" and self.num_gpus < (trainer.devices if trainer.devices > 1 else 0.01):
            raise UsageError(
                f"launcher.num_gpus must be as many GPUs as a run needs, got {self.num_gpus:g} with"
                f" trainer.accelerator=gpu trainer.devices={trainer.devices}; give launcher.num_gpus={trainer.devices},"
                " or trainer.accelerator=cpu"
            )

    def build(self) -> "Runner":
        """See `sweep.ray_tasks`."""
        from imgrec.sweeps.ray_tasks import RayTasks

        return RayTasks(self)
