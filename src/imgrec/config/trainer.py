"""Define the trainer axis: the length, the hardware and the arithmetic of the training."""

from typing import ClassVar

from imgrec.config.component import Component
from imgrec.config.fields import setting
from imgrec.config.registry import register
from imgrec.errors import UsageError

ACCELERATORS = ("auto", "cpu", "gpu")
STRATEGIES = ("auto", "ddp")
PRECISIONS = ("32", "bf16-mixed", "16-mixed")
TRIED = 3  # batches of each kind that trainer.fast_dev_run takes
COMPILED_SHAPES = 8  # PyTorch compiles a network for so many shapes at most, and runs it as it is for others
PROFILERS = ("none", "simple", "pytorch")
PROGRESS = ("auto", "rich", "plain", "none")


@register("trainer", "trainer")
class Trainer(Component):
    """The training loop's plain options."""

    axis: ClassVar[str] = "trainer"
    is_choice: ClassVar[bool] = False
    max_epochs: int = setting(
        10, "epochs: each has as many visits as there are training images", at_least=1, at_most=1000000
    )
    accelerator: str = setting(
        "auto", "cpu, gpu, or auto: the GPU where there is one", identity=False, among=ACCELERATORS
    )
    devices: int = setting(1, "processes, each with its own batch of data.batch_size images", at_least=1)
    num_nodes: int = setting(
        1, "machines, each with trainer.devices processes; several: torchrun or srun starts them", at_least=1
    )
    strategy: str = setting(
        "auto", "auto, or ddp: one process a device, gradients averaged", identity=False, among=STRATEGIES
    )
    precision: str = setting(
        "32",
        f"arithmetic of the training step: {', '.join(PRECISIONS)}; weights stay float32; at 32, GPUs convolve in TF32",
        among=PRECISIONS,
    )
    channels_last: bool = setting(True, "NHWC memory format: faster convolutions, same mathematics")
    compile: bool = setting(False, "torch.compile the network for whole training batches, once for each size of images")
    graphs: bool = setting(
        False,
        "run the network's training step on a GPU as CUDA graphs, for whole training batches, once for each size of"
        " images (experimental: no GPU has run it yet)",
    )
    deterministic: str = setting(
        "auto", "true, false, or auto: same seed, same bits, on the CPU", among=("true", "false", "auto")
    )
    accumulate: int = setting(
        1, "batches whose mean gradient makes one optimizer step; an epoch may end with fewer", at_least=1
    )
    gradient_clip: float = setting(0.0, "upper bound of the gradient's norm; 0: off", at_least=0)
    ema_decay: float = setting(
        0.0, "decay of the weights' moving average, which is then what is scored; 0: off", at_least=0, below=1
    )
    ema_statistics: str = setting(
        "averaged",
        "batch-norm statistics with ema_decay: averaged like the weights, or recomputed for them after each epoch from"
        " 10 000 training images (Izmailov et al. 2018, section 3.2)",
        among=("averaged", "recomputed"),
    )
    swa_from: float = setting(
        0.0,
        "share of the epochs after which the weights at each epoch's end are averaged with equal weight, with"
        " recomputed batch-norm statistics, which is then what is scored (Izmailov et al. 2018); 0: off",
        at_least=0,
        below=1,
    )
    nonfinite_skips: int = setting(
        0,
        "steps to leave out for a loss or gradient that is not finite, before the run stops; 0: stop at the first",
        at_least=0,
    )
    early_stopping: int = setting(0, "stop after so many epochs without a better validation top1; 0: never", at_least=0)
    log_every: int = setting(50, "steps from one logged training loss to the next", identity=False, above=0)
    checkpoint_every: int = setting(
        0,
        "also save `last` every so many steps; 0: at the end of an epoch",
        identity=False,
        at_least=0,
    )
    async_save: bool = setting(
        False, "write checkpoints beside the training, from a copy of the state in memory", identity=False
    )
    fast_dev_run: bool = setting(
        False, f"try the run out: {TRIED} batches of everything, in a temporary place; no record", identity=False
    )
    progress: str = setting(
        "auto",
        "auto: rich on a terminal, plain lines in a pipe; or rich, plain, none",
        identity=False,
        among=PROGRESS,
    )
    tensorboard: bool = setting(True, "write TensorBoard events", identity=False)
    log_graph: bool = setting(False, "put the network's graph into TensorBoard", identity=False)
    profiler: str = setting(
        "none",
        "measure where the time of the training goes, into the run's profile/: none, simple (the parts of the training"
        " loop) or pytorch (the operators of a few steps, for about://tracing)",
        identity=False,
        among=PROFILERS,
    )
    threads: int = setting(
        0,
        "CPU threads of PyTorch; 0: its own choice. The order of sums depends on them, and with it the last bits",
        identity=False,
        at_least=0,
        at_most=1024,
        way_out="0 lets PyTorch choose",
    )

    def __post_init__(self) -> None:
        self.deterministic = self.deterministic.lower()  # YAML's true arrives as "True"
        super().__post_init__()
        if self.log_graph and not self.tensorboard:
            raise UsageError("trainer.log_graph=true needs trainer.tensorboard=true; drop one of the two")
        if self.ema_decay and self.swa_from:
            raise UsageError(
                f"trainer.swa_from and trainer.ema_decay are two averages of the weights, and one can be scored, got"
                f" {self.swa_from} and {self.ema_decay}; drop one of the two"
            )
        for key, value in (("devices", self.devices), ("num_nodes", self.num_nodes)):
            if value > 1 and self.strategy != "ddp":
                raise UsageError(
                    f"trainer.{key}={value} needs trainer.strategy=ddp; choose trainer=ddp, or trainer.{key}=1"
                )
        if self.graphs and self.compile:
            raise UsageError(
                "trainer.graphs=true needs trainer.compile=false, as each runs the network in a way of its own; drop"
                " one of the two"
            )
        if self.graphs and self.strategy == "ddp":
            raise UsageError(
                "trainer.graphs=true needs a run of one process, got trainer.strategy='ddp'; give"
                " trainer.graphs=false, or trainer.strategy=auto trainer.devices=1 trainer.num_nodes=1"
            )
        if self.num_nodes > 1 and self.fast_dev_run:
            raise UsageError(
                f"trainer.fast_dev_run=true needs trainer.num_nodes=1, got {self.num_nodes}, as its temporary place is"
                " on one machine; try the run out there, without trainer.num_nodes"
            )

    @property
    def processes(self) -> int:
        """The number of processes of a run, on all machines."""
        return self.devices * self.num_nodes
