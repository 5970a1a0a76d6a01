"""Save a run during its training: `last` at the end of every epoch and on interruption, `best` by validation."""

import logging
from pathlib import Path
from typing import Any, NoReturn

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Checkpoint

from imgrec.checkpoint import BEST, LAST, link_or_copy
from imgrec.distributed import anywhere, gathered, own
from imgrec.stored.best import Best, BestFile, LostBest
from imgrec.stored.position import Position, RunPosition
from imgrec.stored.random_state import RandomState
from imgrec.stored.resume_state import SaverState
from imgrec.training import best_checkpoint
from imgrec.training.curves import Curves
from imgrec.training.interruption import Interruption
from imgrec.training.nan_guard import FiniteGuard
from imgrec.training.progress import Speed
from imgrec.training.run_loggers import told
from imgrec.training.writer import Writer

log = logging.getLogger(__name__)


class Saver(Checkpoint):
    """Save the run so that it can continue from any saved step with the same bits.

    `best` is the epoch with the highest validation top1; of equal ones the one with the lower loss, then the earlier
    one. Without validation there is none. A save happens only between two training steps, as the weights may be
    averaged ones during validation. Each state stores the SHA-256 of `best`, so that a later process recognises another
    file.

    Args:
        folder: The run's checkpoints.
        run_id: The run's id.
        position: The run's position, which the Saver moves at each save.
        every: Steps between two saves; 0 to save only at the end of an epoch.
        interruption: Says after each step whether to save and end.
        speed: Its clock stops while a checkpoint is saved.
        guard: Refuses to save values that are not finite.
        writer: Carries out the work after a save.
        resumed: The Saver's part of the state that the run continues from.
        state_of: The id of that state's run, if it is another one.
        keep_best: False if the best of that state was measured with another loss, or on other images.
        keep_random: False if the random generators of that state belong to another seed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        run_id: str,
        position: RunPosition,
        every: int,
        interruption: Interruption,
        speed: Speed,
        guard: FiniteGuard,
        writer: Writer,
        resumed: SaverState | None = None,
        state_of: str | None = None,
        keep_best: bool = True,
        keep_random: bool = True,
    ) -> None:
        self._folder = folder
        self._speed = speed
        self._guard = guard
        self._writer = writer
        self._every = every
        self._interruption = interruption
        self._position = position
        self.over = False
        self.rows = 0  # rows of curves.csv at this state
        self.rows_lost = 0  # logged rows that were lost
        self._run_id = run_id
        self._state_of = state_of or run_id
        kept = resumed if keep_best else None
        self.best: Best | None = kept.best if kept else None
        self._best_file: BestFile | None = kept.best_file if kept else None  # None also if `best` is `last` itself
        self.best_lost: LostBest | None = kept.best_lost if kept else None
        self.has_stepped = False  # in this process
        self._began_at = 0
        self._random_states = resumed.random if resumed and keep_random else ()  # to be restored, by process
        self._device = torch.device("cpu")

    @property
    def state_key(self) -> str:
        return SaverState.KEY

    @property
    def step(self) -> int:
        """The number of optimizer steps at the newest save."""
        return self._position.step

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._began_at = trainer.global_step
        self._device = pl_module.device
        self._interruption.install()  # Lightning has just installed its own handlers
        if trainer.world_size > 1:
            # the method asks all processes at every step whether Lightning's handler was called, and waits for the GPU
            setattr(trainer.fit_loop.epoch_loop, "_broadcast_sigterm_tensor", _no_op)  # noqa: B010 (mypy: a method)
        if trainer.global_rank > 0:  # with the same random numbers, all processes would drop the same units
            own_seed = np.random.SeedSequence([torch.initial_seed(), trainer.global_rank]).generate_state(1)
            torch.manual_seed(int(own_seed[0]))
        if trainer.is_global_zero:
            self.complete_best()

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._random_states:  # just before the first draw
            self._restore(own(self._random_states, trainer), trainer)
            self._random_states = ()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.has_stepped |= trainer.global_step > self._began_at
        last = batch_idx + 1 >= trainer.num_training_batches
        if last or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return  # an epoch's end saves after validation; a part of an accumulated step cannot be saved
        asked = self._asked(trainer)
        if asked or (self._every and trainer.global_step % self._every == 0):
            self._save(trainer, Position(trainer.current_epoch, batch_idx + 1))
            self._speed.resume_clock()
        if asked:
            self._stop(trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        improved = self._improved(trainer)
        self.over = trainer.should_stop or trainer.current_epoch + 1 >= (trainer.max_epochs or 0)
        self._save(trainer, Position(trainer.current_epoch + 1))
        if improved and trainer.is_global_zero:
            self._writer.do(self._take_last_as_best, self._run_id)
        if self._asked(trainer) and not self.over:
            self._stop(trainer)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._writer.wait()

    def complete_best(self) -> None:
        """Make sure that `best.ckpt` is the best that the state names. Call it when a run continues, and at its end.

        A crash between the two saves of an epoch's end leaves the older file. A missing or damaged file, or one of
        another run, is restored from `last` or `previous`. If this fails, the best is lost: an error is logged, the
        record says so, and the best is chosen among later epochs.
        """
        if self.best is None:
            return
        if self.best.step == self.step:
            self._take_last_as_best(self._state_of)
            return
        sha256 = self._best_file.sha256 if self._best_file else None
        why = best_checkpoint.strange(self._folder / BEST, self.best, sha256)
        if why is None or best_checkpoint.restored(self._folder, self.best, self.step):
            return
        log.error(
            "%s %s%s: the best so far, of epoch %d with a validation top1 of %.4f, is lost, and its scores with it;"
            " restore the run's own file before the next start, or take the best of the epochs to come, else last",
            self._folder / BEST,
            why,
            best_checkpoint.put_aside(self._folder),
            self.best.epoch,
            self.best.top1,
        )
        self.best_lost = LostBest(best=self.best, why=why)
        self.best = self._best_file = None

    def _take_last_as_best(self, run_id: str) -> None:
        self._best_file = BestFile(sha256=link_or_copy(self._folder / LAST, self._folder / BEST), run_id=run_id)

    def state_dict(self) -> dict[str, Any]:
        state = SaverState(
            best=self.best,
            best_file=self._best_file,
            best_lost=self.best_lost,
            over=self.over,
            position=self._position.saved,
            step=self.step,
            rows=self.rows,
            rows_lost=self.rows_lost,
            random=tuple(gathered(RandomState.now(self._device))),
        )
        return state.to_plain()

    def _restore(self, state: RandomState | None, trainer: lightning.Trainer) -> None:
        """Restore the random generators, and log where some of them have no stored state."""
        if state is None:
            log.warning(
                "the state to go on from has random numbers of %d processes, and there are %d now: dropout and the like"
                " draw anew, from the seed",
                len(self._random_states),
                trainer.world_size,
            )
        elif not state.restore(self._device, rank=trainer.local_rank):
            log.warning(
                "the state to go on from was saved on a CPU, and this process trains on %s: dropout and the like draw"
                " anew there, from the seed",
                self._device,
            )

    def _asked(self, trainer: lightning.Trainer) -> bool:
        """Return True if any process was asked to end. All processes must stop at the same step."""
        return anywhere(self._interruption.signum is not None, trainer)

    def _stop(self, trainer: lightning.Trainer) -> NoReturn:
        self._writer.wait()
        trainer.strategy.barrier()  # so that the first process never waits for one that has ended
        self._interruption.stop()

    def _save(self, trainer: lightning.Trainer, position: Position) -> None:
        self._guard.check(trainer)
        if self._writer.in_background:
            self._writer.wait()  # the state contains the SHA-256 of the best, which must be complete
        # write earlier log entries first, so that a crash cannot lose them
        for logger in trainer.loggers if trainer.is_global_zero else []:
            if isinstance(logger, Curves):
                logger.sync()
                self.rows = logger.rows
            else:
                told(logger).sync()
        self._position.move_to(position, step=trainer.global_step)
        self._state_of = self._run_id
        trainer.save_checkpoint(self._folder / LAST)

    def _improved(self, trainer: lightning.Trainer) -> bool:
        metrics = trainer.callback_metrics
        if "val/top1" not in metrics:
            return False
        now = Best(
            top1=float(metrics["val/top1"]),
            loss=float(metrics["val/loss"]),
            epoch=trainer.current_epoch + 1,
            step=trainer.global_step,
        )
        if not now.is_better_than(self.best):
            return False
        self.best, self._best_file = now, None
        return True


def _no_op() -> None:
    """Do nothing. It replaces a Lightning hook."""
