"""Lightning's trainer as a run configures it, and Lightning's own messages."""

import logging
import sys
import warnings
from pathlib import Path
from typing import Any, Literal, cast

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import Logger

from imgrec.config.root import Config
from imgrec.config.trainer import TRIED
from imgrec.training import progress


def make(
    config: Config,
    folder: Path,
    *,
    validates: bool,
    callbacks: list[Callback],
    loggers: list[Logger],
    plugins: list[Any],
) -> lightning.Trainer:
    """Lightning's trainer for this configuration.

    Args:
        config: The run's.
        folder: The run's.
        validates: True if there are validation images.
        callbacks: In the order in which their hooks are called.
        loggers: Where metrics go.
        plugins: What takes the place of Lightning's own files and processes.
    """
    trainer = config.trainer
    accelerator = _accelerator(trainer.accelerator)
    deterministic = accelerator == "cpu" if trainer.deterministic == "auto" else trainer.deterministic == "true"
    # filling fresh memory would guard against reading it unset, at the price of every allocation
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return lightning.Trainer(
        default_root_dir=folder,
        max_epochs=1 if trainer.fast_dev_run else trainer.max_epochs,
        limit_train_batches=TRIED if trainer.fast_dev_run else 1.0,
        accelerator=accelerator,
        devices=trainer.devices,
        strategy=trainer.strategy,
        precision=cast(Literal["32", "bf16-mixed", "16-mixed"], trainer.precision),
        deterministic=deterministic,
        benchmark=(accelerator == "gpu" and not deterministic) or None,  # None: as PyTorch has it
        accumulate_grad_batches=trainer.accumulate,
        gradient_clip_val=trainer.gradient_clip or None,
        callbacks=callbacks,
        logger=loggers,
        plugins=plugins,
        limit_val_batches=(TRIED if trainer.fast_dev_run else 1.0) if validates else 0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # the loaders deal their batches out themselves
        enable_model_summary=False,
        enable_progress_bar=progress.shows_bar(trainer.progress, terminal=sys.stderr.isatty()),
        log_every_n_steps=1,  # Speed decides
    )


def quieten(config: Config) -> None:
    """Keep Lightning's own information, and warnings that say nothing to the user of a run, out of the log."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _EXPECTED:
        warnings.filterwarnings("ignore", message=message)
    if not (config.data.streams and torch.cuda.is_available()):  # a GPU would wait for them
        warnings.filterwarnings("ignore", message=r".*does not have many workers.*")


def _accelerator(asked: str) -> str:
    """Cpu or gpu (CUDA's: the scores count in float64, which Apple's GPUs do not have)."""
    return asked if asked != "auto" else "gpu" if torch.cuda.is_available() else "cpu"


# Warnings of the libraries underneath that say nothing to the user of a run.
_EXPECTED = (
    r".*LeafSpec.*",  # PyTorch renamed what Lightning 2.6 calls
    r".*Checkpoint directory .* exists and is not empty.*",
    r".*your dataloader is not resumable.*",  # it is: the sampler begins at the stored batch
    r".*callbacks used to create the checkpoint.*",  # a run may go on without them: imgrec says what may change
    r".*checkpoint was not created with WeightAveraging.*",  # a run may go on with an average that begins now
    r".*The ``compute`` method of metric .* was called before.*",
    r".*GPU available but not used.*",
    r".*The `srun` command is available.*",  # on any machine with SLURM; imgrec starts its processes itself
    r".*`torch\.jit\.trace.*` is deprecated.*",  # TensorBoard's graph (trainer.log_graph) is made by it
    r".*Glyph .* missing from font.*",  # a class' name in Chinese, say, in TensorBoard's pictures: boxes, there alone
    r".*sync_dist=True.*",  # the scores are torchmetrics' own, which have been summed over the processes already
)
