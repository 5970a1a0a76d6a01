"""The trainer axis: how long, on what, and in which arithmetic."""

from dataclasses import dataclass

from omegaconf import MISSING

from imgrec.config.fields import above, at_least, below, choice, setting, within
from imgrec.errors import UsageError

ACCELERATORS = ("auto", "cpu", "gpu")
STRATEGIES = ("auto", "ddp")
PRECISIONS = ("32", "bf16-mixed", "16-mixed")
TRIED = 3  # batches of each kind that trainer.fast_dev_run takes
PROGRESS = ("auto", "rich", "plain", "none")


@dataclass(kw_only=True)
class Trainer:
    """The training loop's plain options."""

    name: str = MISSING
    max_epochs: int = setting(10, "epochs: each has as many visits as there are training images")
    accelerator: str = setting("auto", "cpu, gpu, or auto: the GPU where there is one", identity=False)
    devices: int = setting(1, "processes, each with its own batch of data.batch_size images")
    strategy: str = setting("auto", "auto, or ddp: one process a device, gradients averaged", identity=False)
    precision: str = setting(
        "32",
        f"arithmetic of the training step: {', '.join(PRECISIONS)}; weights stay float32; at 32, GPUs convolve in TF32",
    )
    channels_last: bool = setting(True, "NHWC memory format: faster convolutions, same mathematics")
    compile: bool = setting(False, "torch.compile the network")
    deterministic: str = setting("auto", "true, false, or auto: same seed, same bits, on the CPU")
    accumulate: int = setting(1, "batches whose mean gradient makes one optimizer step; an epoch may end with fewer")
    gradient_clip: float = setting(0.0, "upper bound of the gradient's norm; 0: off")
    ema_decay: float = setting(0.0, "decay of the weights' moving average, which is then what is scored; 0: off")
    nonfinite_skips: int = setting(
        0,
        "steps to leave out for a loss or gradient that is not finite, before the run stops; 0: stop at the first",
    )
    early_stopping: int = setting(0, "stop after so many epochs without a better validation top1; 0: never")
    log_every: int = setting(50, "steps from one logged training loss to the next", identity=False)
    checkpoint_every: int = setting(
        0, "also save `last` every so many steps; 0: at the end of an epoch", identity=False
    )
    async_save: bool = setting(
        False, "write checkpoints beside the training, from a copy of the state in memory", identity=False
    )
    fast_dev_run: bool = setting(
        False, f"try the run out: {TRIED} batches of everything, in a temporary place; no record", identity=False
    )
    progress: str = setting(
        "auto", "auto: rich on a terminal, plain lines in a pipe; or rich, plain, none", identity=False
    )
    tensorboard: bool = setting(True, "write TensorBoard events", identity=False)
    log_graph: bool = setting(False, "put the network's graph into TensorBoard", identity=False)
    threads: int = setting(
        0,
        "CPU threads of PyTorch; 0: its own choice. The order of sums depends on them, and with it the last bits",
        identity=False,
    )

    def __post_init__(self) -> None:
        at_least("trainer.max_epochs", self.max_epochs, 1)
        within("trainer.max_epochs", self.max_epochs, 1, 1_000_000)
        choice("trainer.accelerator", self.accelerator, ACCELERATORS)
        at_least("trainer.devices", self.devices, 1)
        choice("trainer.strategy", self.strategy, STRATEGIES)
        choice("trainer.precision", self.precision, PRECISIONS)
        self.deterministic = self.deterministic.lower()  # YAML's true arrives as "True"
        choice("trainer.deterministic", self.deterministic, ("true", "false", "auto"))
        at_least("trainer.accumulate", self.accumulate, 1)
        at_least("trainer.gradient_clip", self.gradient_clip, 0)
        below("trainer.ema_decay", self.ema_decay, 0, 1)
        at_least("trainer.nonfinite_skips", self.nonfinite_skips, 0)
        at_least("trainer.early_stopping", self.early_stopping, 0)
        above("trainer.log_every", self.log_every, 0)
        at_least("trainer.checkpoint_every", self.checkpoint_every, 0)
        choice("trainer.progress", self.progress, PROGRESS)
        within("trainer.threads", self.threads, 0, 1024, "0 lets PyTorch choose")
        if self.log_graph and not self.tensorboard:
            raise UsageError("trainer.log_graph=true needs trainer.tensorboard=true; drop one of the two")
        if self.devices > 1 and self.strategy != "ddp":
            raise UsageError(
                f"trainer.devices={self.devices} needs trainer.strategy=ddp; choose trainer=ddp, or trainer.devices=1"
            )
