"""The callbacks of a run: which there are, in which order, and why."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lightning.pytorch.callbacks import Callback

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
from imgrec.training.interruption import Interruption
from imgrec.training.nan_guard import FiniteGuard, Refusals
from imgrec.training.progress import Speed
from imgrec.training.pruning import Pruning
from imgrec.training.saver import Saver
from imgrec.training.start import Start
from imgrec.training.step_skipper import StepSkipper
from imgrec.training.writer import Writer


@dataclass(frozen=True, kw_only=True)
class Callbacks:
    """All callbacks, in the order in which Lightning calls each of their hooks, and those of them that others ask."""

    ordered: list[Callback]
    speed: Speed
    saver: Saver

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
    ) -> Self:
        """The callbacks that the configuration asks for, and those that every run has.

        Args:
            job: The run.
            start: What it begins with.
            data: Its images.
            position: Of the run, for the Saver to move.
            writer: Carries out what changes the disk.
            interruption: Notes the signals that end the run.

        Raises:
            UsageError: One of them needs validation images, and there are none.
        """
        trainer, checkpoints = job.config.trainer, job.folder / CHECKPOINTS
        state = start.state
        speed = Speed(every=trainer.log_every, resumed=state.speed if state else None)
        refusals = Refusals(indices=data.indices, last_good=lambda: _last_good(checkpoints, writer, position))
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
            # takes in a step before anything looks at it
            *([Averaging(decay=trainer.ema_decay)] if trainer.ema_decay else []),
            # logs the step, and shows what it has logged
            speed,
            *progress.callbacks(trainer.progress, speed, terminal=sys.stderr.isatty()),
            # act on what was logged: the choices of the configuration, each with its own condition
            *_chosen(job.config, start, data),
            # leaves a bad step out before the guard would end the run for it
            StepSkipper(limit=trainer.nonfinite_skips, refusals=refusals, resumed=state.skipper if state else None),
            # refuses what is not finite before it is saved
            guard,
            # last, as it saves what all others have done; Lightning moves a Checkpoint here anyway
            saver,
        ]
        # before them, so that what a callback of the configuration changes is averaged, logged and saved
        ordered = [*_named(job.config, imgrecs), *imgrecs]
        return cls(ordered=ordered, speed=speed, saver=saver)


def _named(config: Config, others: Sequence[Callback]) -> list[Callback]:
    """The callbacks that a configuration names.

    Raises:
        UsageError: Two share a state_key.
        RunError: The state of one could not be loaded again.
    """
    named = {name: each.build() for name, each in config.callback.items()}
    keys = [each.state_key for each in (*others, *named.values())]
    for name, each in named.items():
        checkpoint.check_plain(each.state_dict(), f"callback={name}")  # now, as a run could not be read at its end
        if keys.count(each.state_key) > 1:
            raise UsageError(
                f"callback={name} must have a state_key of its own, and another has {each.state_key!r} too; rename its"
                " class"
            )
    return list(named.values())


def _chosen(config: Config, start: Start, data: ImageData) -> list[Callback]:
    """The callbacks that a configuration picks, in the order in which they act."""
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
    """Where the run stood when it was last saved, for a reader."""
    path = checkpoints / LAST
    try:
        writer.wait()
    except RunError:
        return str(path)
    return f"{path} at step {position.step}" if path.exists() else None
