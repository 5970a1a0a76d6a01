"""Create the callbacks of a run, and order them."""

import logging
import math
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lightning.pytorch.callbacks import Callback, Checkpoint, WeightAveraging

from imgrec import checkpoint
from imgrec.checkpoint import LAST
from imgrec.config.root import Config
from imgrec.datamodule import ImageData
from imgrec.errors import RunError, UsageError
from imgrec.job import Job
from imgrec.runfolder import CHECKPOINTS
from imgrec.stored.position import RunPosition
from imgrec.training import progress
from imgrec.training.averaging import Averaging
from imgrec.training.early_stopping import EarlyStopping
from imgrec.training.epoch_weights import ScheduleFreeAverage, StochasticWeightAveraging
from imgrec.training.freezing import Freezing
from imgrec.training.interruption import Interruption
from imgrec.training.nan_guard import FiniteGuard, Refusals
from imgrec.training.progress import Speed
from imgrec.training.pruning import Pruning
from imgrec.training.saver import Saver
from imgrec.training.start import Start
from imgrec.training.step_skipper import StepSkipper
from imgrec.training.writer import Writer

log = logging.getLogger(__name__)

_COUNTED = 10_000  # images; 1 000 to 10 000 are enough (Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm")


@dataclass(frozen=True, kw_only=True)
class Callbacks:
    """All callbacks, in the order in which Lightning calls their hooks, and those that other code uses."""

    ordered: list[Callback]
    speed: Speed
    saver: Saver
    named: list[Callback]

    @classmethod
    def of(
        cls,
        job: Job,
        start: Start,
        *,
        data: ImageData,
        position: RunPosition,
        writer: Writer,
        interruption: Interruption,
        frozen: Collection[str] = (),
    ) -> Self:
        """Return the callbacks that the configuration selects, and those of every run.

        Args:
            job: The run.
            start: The state that the run begins with.
            data: The run's images.
            position: The run's position, which the Saver moves.
            writer: Carries out changes of the disk.
            interruption: Notes the signals that end the run.
            frozen: The tensors that `model.unfreeze_at` keeps frozen for a while.

        Raises:
            UsageError: A callback needs validation images, and there are none.
        """
        trainer, checkpoints = job.config.trainer, job.folder / CHECKPOINTS
        state = start.state
        speed = Speed(every=trainer.log_every, resumed=state.speed if state else None)
        refusals = Refusals(
            indices=data.indices,
            last_good=lambda: _last_good(checkpoints, writer, position),
            with_sam=job.config.optimizer.sam_rho > 0,
        )
        guard = FiniteGuard(every=trainer.log_every, judges_losses=not trainer.nonfinite_skips, refusals=refusals)
        saver = Saver(
            checkpoints,
            run_id=job.run_id,
            position=position,
            every=trainer.checkpoint_every,
            interruption=interruption,
            speed=speed,
            guard=guard,
            writer=writer,
            resumed=state.saver if state else None,
            state_of=state.meta.run_id if state else None,
            keep_best=start.best_compares,
            keep_random=start.same_seed,
        )
        imgrecs: list[Callback] = [
            # decides what a batch trains
            *([Freezing(frozen, epochs=job.config.model.unfreeze_at)] if frozen else []),
            # adds a step before other callbacks read it
            *_averaging(job.config, data),
            # logs the step, and shows the logged values
            speed,
            *progress.callbacks(trainer.progress, speed, terminal=sys.stderr.isatty()),
            # read the logged values: the choices of the configuration, each with its own condition
            *_chosen(job.config, start, data),
            # skips a bad step before the guard ends the run for it
            StepSkipper(limit=trainer.nonfinite_skips, refusals=refusals, resumed=state.skipper if state else None),
            # refuses values that are not finite before they are saved
            guard,
            # last, as it saves the results of all others; Lightning moves a Checkpoint here in any case
            saver,
        ]
        # first, so that the changes by a callback of the configuration are averaged, logged and saved
        named = _named(job.config, imgrecs)
        return cls(ordered=[*named, *imgrecs], speed=speed, saver=saver, named=named)


def _averaging(config: Config, data: ImageData) -> list[WeightAveraging]:
    """Return the average, if any. Its batch-norm statistics may be computed anew, from about `_COUNTED` images."""
    trainer = config.trainer
    batches = -(-_COUNTED // (config.data.batch_size * trainer.processes))
    if config.optimizer.averages:
        return [ScheduleFreeAverage(recount=data.training_images, batches=batches)]
    if trainer.swa_from:
        begins = math.floor(round(trainer.swa_from * trainer.max_epochs, 6))  # 0.7 of 10 is 7
        if begins >= trainer.max_epochs - 1:
            log.warning(
                "trainer.swa_from=%g of trainer.max_epochs=%d leaves one epoch, whose weights are no average; give a"
                " smaller share, or more epochs",
                trainer.swa_from,
                trainer.max_epochs,
            )
        return [StochasticWeightAveraging(begins=begins, recount=data.training_images, batches=batches)]
    if not trainer.ema_decay:
        return []
    recount = None if trainer.ema_statistics == "averaged" else data.training_images
    return [Averaging(decay=trainer.ema_decay, recount=recount, batches=batches)]


def _named(config: Config, others: Sequence[Callback]) -> list[Callback]:
    """Return the callbacks that a configuration names.

    Raises:
        UsageError: Two callbacks have the same state_key.
        RunError: The state of a callback could not be loaded again.
    """
    named = {name: each.build() for name, each in config.callback.items()}
    for name, each in named.items():
        if not isinstance(each, Callback) or isinstance(each, Checkpoint):
            raise UsageError(
                f"callback={name} must build a callback of Lightning's that saves no checkpoints, got"
                f" {type(each).__name__}; mend its build()"
            )
    keys = [each.state_key for each in (*others, *named.values())]
    for name, each in named.items():
        checkpoint.check_plain(each.state_dict(), f"callback={name}")  # before the training
        if keys.count(each.state_key) > 1:
            raise UsageError(
                f"callback={name} must have a state_key of its own, and another has {each.state_key!r} too; rename its"
                " class"
            )
    return list(named.values())


def _chosen(config: Config, start: Start, data: ImageData) -> list[Callback]:
    """Return the callbacks that settings of the configuration select, in the order in which they act."""
    chosen: list[Callback] = []
    if config.trainer.early_stopping:
        if data.source.val is None:
            raise UsageError("trainer.early_stopping needs validation images; give data.val_size, or early_stopping=0")
        chosen.append(EarlyStopping(patience=config.trainer.early_stopping, comparable=start.top1_compares))
    if config.data.prune > 0:
        after = config.data.pruned_after(config.trainer.max_epochs)
        chosen.append(Pruning(data, share=config.data.prune, after=after, seed=config.seed))
    return chosen


def _last_good(checkpoints: Path, writer: Writer, position: RunPosition) -> str | None:
    """Return the position of the newest saved state in words; None without one."""
    path = checkpoints / LAST
    try:
        writer.wait()
    except RunError:
        return str(path)
    return f"{path} at step {position.step}" if path.exists() else None
