"""Define launcher=slurm."""

from typing import TYPE_CHECKING, ClassVar

from imgrec.config.fields import setting
from imgrec.config.launcher import Launcher
from imgrec.config.registry import register
from imgrec.errors import UsageError

if TYPE_CHECKING:
    from imgrec.config.trainer import Trainer
    from imgrec.sweep.watch import Launcher as Runner

_OWN = ("array", "comment", "output", "error", "open-mode", "signal", "requeue", "no-requeue", "nodes", "ntasks")


@register("launcher", "slurm")
class Slurm(Launcher):
    """The runs of a sweep as jobs of a SLURM cluster, an array of jobs for all runs that need the same resources.

    The settings have the names and the meaning of sbatch's options; null leaves an option out. Ctrl-C leaves the jobs
    in the queue, and the same command finds them again.
    """

    elsewhere: ClassVar[bool] = True
    ends_early: ClassVar[bool] = True

    partition: str | None = setting(None, "the partition", identity=False)
    account: str | None = setting(None, "the account that pays", identity=False)
    qos: str | None = setting(None, "the quality of service", identity=False)
    time: str | None = setting(
        None,
        "the most time of a job, in SLURM's form (minutes, or [days-]hours:minutes:seconds); a run that needs longer is"
        " saved before, queued again and goes on",
        identity=False,
    )
    mem: str | None = setting(None, "memory of a job on each node, such as 16G", identity=False)
    cpus_per_task: int = setting(
        1, "CPUs of each process of a run, which also has so many threads", identity=False, at_least=1
    )
    gpus_per_node: str | None = setting(
        None,
        "GPUs of a run on each node, such as 1 or a100:1; null: none, or those that launcher.gres asks for",
        identity=False,
    )
    gres: str | None = setting(None, "generic resources on each node, such as gpu:1", identity=False)
    constraint: str | None = setting(None, "features that a node must have", identity=False)
    exclude: str | None = setting(None, "nodes that get no run, such as node[03,07]", identity=False)
    array_parallelism: int = setting(
        0, "jobs at a time, of each array; 0: as many as the cluster allows", identity=False, at_least=0
    )
    signal: int = setting(
        90, "seconds before the end of a job's time at which its run is told to save", identity=False, at_least=1
    )
    setup: list[str] = setting(
        list, "shell commands before each run, such as module load cuda, or an environment", identity=False
    )
    srun: list[str] = setting(
        list,
        "further options of srun, such as --container-image=FILE",
        identity=False,
    )
    sbatch: list[str] = setting(list, "further options of sbatch, such as --mail-type=END", identity=False)

    def check(self, trainer: "Trainer") -> None:
        """See `Launcher`."""
        for option in self.sbatch:
            name = option.removeprefix("--").partition("=")[0]
            if not option.startswith("--") or name in _OWN:
                rule = "must be written --name=value" if not option.startswith("--") else f"must not hold --{name}"
                why = "" if not option.startswith("--") else ", which imgrec sets itself"
                raise UsageError(f"launcher.sbatch {rule}{why}, got {option!r}; leave it out")
        if trainer.accelerator == "gpu" and self.gpus_per_node is None and self.gres is None:
            raise UsageError(
                "launcher.gpus_per_node must say how many GPUs a job gets, as trainer.accelerator=gpu needs one; give"
                f" launcher.gpus_per_node={trainer.devices}, or trainer.accelerator=cpu"
            )

    def check_search(self) -> None:
        """See `Launcher`."""
        if not self.array_parallelism:
            raise UsageError(
                "launcher.array_parallelism must say how many trials of a search run at a time, as it learns from those"
                " that have ended, got 0, which is all of them; give launcher.array_parallelism=8"
            )

    def build(self) -> "Runner":
        """See `sweep.slurm.launcher`."""
        from imgrec.sweep.slurm.launcher import Slurm

        return Slurm(self)
