"""Create Lightning's trainer for a run, and filter Lightning's messages."""

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any, Literal, cast

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.profilers import Profiler, PyTorchProfiler, SimpleProfiler

from imgrec import gpus
from imgrec.config.root import Config
from imgrec.config.trainer import TRIED
from imgrec.runfolder import PROFILE
from imgrec.training import loss_scaling, progress


def make(
    config: Config,
    folder: Path,
    *,
    validates: bool,
    callbacks: list[Callback],
    loggers: list[Logger],
    plugins: list[Any],
) -> lightning.Trainer:
    """Return Lightning's trainer for this configuration.

    Args:
        config: The run's configuration.
        folder: The run's folder.
        validates: True if there are validation images.
        callbacks: The callbacks, in the order in which their hooks are called.
        loggers: The loggers of metrics.
        plugins: Replacements of Lightning's handling of files and processes.
    """
    trainer = config.trainer
    accelerator = _accelerator(trainer.accelerator)
    deterministic = _is_deterministic(config, accelerator)
    # filling new memory would make reads of unset memory deterministic, but slows every allocation
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    scales = trainer.precision == "16-mixed"
    return lightning.Trainer(
        default_root_dir=folder,
        max_epochs=1 if trainer.fast_dev_run else trainer.max_epochs,
        limit_train_batches=TRIED if trainer.fast_dev_run else 1.0,
        accelerator=accelerator,
        devices=trainer.devices,
        num_nodes=trainer.num_nodes,
        strategy=_strategy(config),
        precision=None if scales else cast(Literal["32", "bf16-mixed"], trainer.precision),
        deterministic=deterministic,
        benchmark=(accelerator == "gpu" and not deterministic) or None,  # None keeps PyTorch's setting
        accumulate_grad_batches=trainer.accumulate,
        gradient_clip_val=trainer.gradient_clip or None,
        callbacks=callbacks,
        logger=loggers,
        plugins=[*plugins, loss_scaling.plugin("cuda")] if scales else plugins,
        limit_val_batches=(TRIED if trainer.fast_dev_run else 1.0) if validates else 0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # the loaders distribute their batches themselves
        enable_model_summary=False,
        profiler=_profiler(trainer.profiler, folder / PROFILE),
        enable_progress_bar=progress.shows_bar(trainer.progress, terminal=sys.stderr.isatty()),
        log_every_n_steps=1,  # Speed decides when to log
    )


def _profiler(kind: str, folder: Path) -> Profiler | None:
    """Return Lightning's profiler, which writes into the folder when the training is over."""
    if kind == "none":
        return None
    made = SimpleProfiler if kind == "simple" else PyTorchProfiler
    return made(dirpath=folder, filename=kind)


def choose_algorithms(config: Config, device: torch.device) -> None:
    """Let PyTorch choose algorithms as it does in a run of this configuration on that device."""
    on_gpu = device.type == "cuda"
    deterministic = _is_deterministic(config, "gpu" if on_gpu else "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(deterministic)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as Lightning
    elif on_gpu:
        torch.backends.cudnn.benchmark = True


def _strategy(config: Config) -> str:
    """Return Lightning's name of the strategy. Parameters that freeze and thaw have no gradient to wait for."""
    thaws = config.model.unfreeze_at > 0 and config.trainer.strategy == "ddp"
    return "ddp_find_unused_parameters_true" if thaws else config.trainer.strategy


def _is_deterministic(config: Config, accelerator: str) -> bool:
    asked = config.trainer.deterministic
    return accelerator == "cpu" if asked == "auto" else asked == "true"


def quieten(config: Config) -> None:
    """Filter Lightning's information, and warnings that do not concern the user of a run, out of the log."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _EXPECTED:
        warnings.filterwarnings("ignore", message=message)
    if not (config.data.streams and gpus.found().names):  # else more would help
        warnings.filterwarnings("ignore", message=r".*does not have many workers.*")


def _accelerator(asked: str) -> str:
    """Return cpu or gpu (CUDA). Apple's GPUs have no float64, in which the scores are computed."""
    return asked if asked != "auto" else "gpu" if gpus.found().names else "cpu"


# Warnings of the libraries underneath that say nothing to the user of a run.
_EXPECTED = (
    r".*LeafSpec.*",  # PyTorch renamed a class that Lightning 2.6 uses
    r".*Checkpoint directory .* exists and is not empty.*",
    r".*your dataloader is not resumable.*",  # it is resumable: the sampler begins at the stored batch
    r".*callbacks used to create the checkpoint.*",  # a run may continue without them
    r".*checkpoint was not created with WeightAveraging.*",  # a run may continue with an average that begins now
    r".*The ``compute`` method of metric .* was called before.*",
    r".*GPU available but not used.*",
    r".*The `srun` command is available.*",  # appears on any machine with SLURM; imgrec starts its processes itself
    r".*`torch\.jit\.trace.*` is deprecated.*",  # TensorBoard's graph (trainer.log_graph) uses it
    r".*Glyph .* missing from font.*",  # a class name in Chinese, for example, has boxes in TensorBoard's figures only
    r".*module\(s\) in eval mode at the start of training.*",  # frozen layers stay in it
    r".*sync_dist=True.*",  # the scores are of torchmetrics, and are already summed over the processes
)
