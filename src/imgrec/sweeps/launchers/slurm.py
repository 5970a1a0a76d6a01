"""Define launcher=slurm."""

import re
import shutil
from typing import TYPE_CHECKING, ClassVar

from imgrec.config.fields import setting
from imgrec.config.launcher import Launcher
from imgrec.config.registry import register
from imgrec.errors import UsageError

if TYPE_CHECKING:
    from imgrec.config.trainer import Trainer
    from imgrec.sweeps.watch import Launcher as Runner

# options of sbatch that have a key, that imgrec gives, or that would keep it from following the jobs
_OWN = (
    *("array", "comment", "output", "error", "open-mode", "signal", "requeue", "no-requeue", "job-name", "export"),
    *("nodes", "ntasks", "ntasks-per-node", "cpus-per-task", "gpus", "gpus-per-node", "gpus-per-task", "gres"),
    *("partition", "account", "qos", "time", "mem", "constraint", "exclude"),
    *("wait", "test-only", "wrap", "parsable", "chdir", "hold"),
)
_OF_TASKS = ("nodes", "ntasks", "ntasks-per-node", "cpus-per-task")  # options of srun that the trainer's keys give
_OPTION = re.compile(r"--([a-z][a-z-]*)(=.*)?")
_FORMS = {
    "time": (re.compile(r"\d+(:\d\d){0,2}|\d+-\d+(:\d\d){0,2}"), "be minutes, or [days-]hours:minutes:seconds"),
    "mem": (re.compile(r"\d+[KMGT]?"), "be a number of megabytes, or one with K, M, G or T"),
    "gpus_per_node": (re.compile(r"([\w.-]+:)?\d+"), "be a number of GPUs, or TYPE:NUMBER"),
    **{
        key: (re.compile(r"\S.*"), "name something")
        for key in ("partition", "account", "qos", "gres", "constraint", "exclude")
    },
}


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
    array_size: int = setting(
        0,
        "most jobs of an array, where the cluster limits how many a user may submit; the next array is submitted as"
        " soon as SLURM takes it; 0: as many as the cluster's MaxArraySize",
        identity=False,
        at_least=0,
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

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, (form, rule) in _FORMS.items():
            value = getattr(self, key)
            if value is not None and not form.fullmatch(value):
                raise UsageError(f"launcher.{key} must {rule}, got {value!r}; correct it, or leave it out")
        for key, is_own in (("sbatch", _OWN), ("srun", _OF_TASKS)):
            for option in getattr(self, key):
                found = _OPTION.fullmatch(option)
                if found is None:
                    raise UsageError(f"launcher.{key} must hold options as --name=value, got {option!r}; write it so")
                if found[1] in is_own:
                    raise UsageError(
                        f"launcher.{key} must not hold --{found[1]}, which imgrec gives itself or has a key for, got"
                        f" {option!r}; leave it out"
                    )

    @property
    def asks_for_gpus(self) -> bool:
        """True if a job gets GPUs."""
        per_node = self.gpus_per_node is not None and self.gpus_per_node.rpartition(":")[2] != "0"
        return per_node or any(re.match(r"(gres/)?gpu\b", item) for item in (self.gres or "").split(","))

    def check(self, trainer: "Trainer") -> None:
        """See `Launcher`."""
        if trainer.accelerator == "gpu" and not self.asks_for_gpus:
            raise UsageError(
                "launcher.gpus_per_node must say how many GPUs a job gets, as trainer.accelerator=gpu needs one, got"
                f" {self.gpus_per_node}; give launcher.gpus_per_node={trainer.devices}, or trainer.accelerator=cpu"
            )

    def check_search(self) -> None:
        """See `Launcher`."""
        if not self.array_parallelism:
            raise UsageError(
                "launcher.array_parallelism must say how many trials of a search run at a time, as it learns from those"
                " that have ended, got 0, which is all of them; give launcher.array_parallelism=8"
            )

    def build(self) -> "Runner":
        """See `sweep.slurm.launcher`.

        Raises:
            UsageError: SLURM is not installed here.
        """
        if shutil.which("sbatch") is None:
            raise UsageError(
                "launcher=slurm needs SLURM's commands, and sbatch is not on the PATH; call imgrec on a node from which"
                " jobs are submitted, or give launcher=pool"
            )
        from imgrec.sweeps.slurm.launcher import Slurm

        return Slurm(self)
