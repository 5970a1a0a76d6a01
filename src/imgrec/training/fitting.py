"""The fit of one run: Lightning's trainer with its callbacks, begun anew or in place again after an interruption."""

import contextlib
import logging
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, cast

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import Logger
from torch.utils.flop_counter import FlopCounterMode

from imgrec import assembly, checkpoint, ddp_processes
from imgrec.checkpoint import BEST, LAST
from imgrec.config.root import Config
from imgrec.config.trainer import TRIED
from imgrec.data.inventory import Inventory
from imgrec.data.sources import Load
from imgrec.errors import RunError, UsageError
from imgrec.job import Job
from imgrec.runfolder import CHECKPOINTS, CURVES, TENSORBOARD
from imgrec.stored.resume_state import RunPosition
from imgrec.training import progress, resume_point, tensorboard
from imgrec.training.averaging import Averaging
from imgrec.training.curves import Curves
from imgrec.training.ddp_environment import OwnProcesses
from imgrec.training.early_stopping import EarlyStopping
from imgrec.training.interruption import Interruption
from imgrec.training.nan_guard import Finite
from imgrec.training.pruning import Pruning
from imgrec.training.saving import DurableIO, Saver, Writer

log = logging.getLogger(__name__)


class Fitting:
    """Trains the network of a job. After `run`, `checkpoints/last.ckpt` is the run's end.

    It goes on from the checkpoints in the job's folder, else from those of the job's parent.

    Args:
        job: The run.
        seen: The images as they lay there when the run began.
        load: Loads them: `sources.load`, or a function that keeps what it loaded.
        interruption: Notes the signals that end the run.
    """

    def __init__(self, job: Job, seen: Inventory, *, load: Load, interruption: Interruption) -> None:
        config, folder, run_id, parent = job.config, job.folder, job.run_id, job.parent
        self._job, self.config = job, config
        self._trial, self._parent = folder.resolve().name, parent
        self.interruption = interruption
        self._began = time.perf_counter()
        self._checkpoints = folder / CHECKPOINTS
        self._quieten(config)
        lightning.seed_everything(config.seed, verbose=False)
        found = resume_point.newest(self._checkpoints, parent)
        state = self._state = found.state if found else None
        meta = state.meta if state else None
        self._step = state.step if state else 0
        self._goes_on = meta is not None and meta.run_id == run_id
        # what was the end of a parent's training is not the end of this one
        self._over = state is not None and state.saver.over and self._goes_on
        comparable = meta is None or self._goes_on or resume_point.measures_alike(meta, config, seen)
        self._top1_compare = meta is None or resume_point.measures_alike(meta, config, seen, losses=False)
        self._position = RunPosition(state.position if state else None)
        self.source = load(config.data, seen.listing)
        if config.init_seed is not None:
            lightning.seed_everything(config.init_seed, verbose=False)
        self.classifier = assembly.classifier(
            config,
            self.source,
            run_id=run_id,
            fingerprint=seen.fingerprint,
            resumed=state is not None,
            position=self._position,
        )
        if config.init_seed is not None:
            lightning.seed_everything(config.seed, verbose=False)
        if found is not None:
            resume_point.check_architecture(found.path, found.weights, self.classifier)
            if found.path.parent != self._checkpoints:
                self._inherit(found.path, with_best=comparable)
            elif found.path.name != LAST:  # now, or the next save would keep the damaged file as the older generation
                checkpoint.link_or_copy(found.path, self._checkpoints / LAST)
        self._resumed = self._checkpoints / LAST if found else None
        self.data = assembly.datamodule(config, self.source, position=self._position)
        self.speed = progress.Speed(every=config.trainer.log_every, resumed=state.speed if state else None)
        self.finite = Finite(
            skips=config.trainer.nonfinite_skips,
            every=config.trainer.log_every,
            indices=self.data.indices,
            last_good=self._last_good,
            resumed=state.skipper if state else None,
        )
        self._writer = Writer(beside=config.trainer.async_save)
        self.saver = Saver(
            self._checkpoints,
            run_id=run_id,
            position=self._position,
            resumed=state.saver if state else None,
            state_of=meta.run_id if meta else None,
            every=config.trainer.checkpoint_every,
            interruption=interruption,
            speed=self.speed,
            finite=self.finite,
            writer=self._writer,
            keep_best=comparable,
            keep_random=meta is None or meta.config.get("seed") == config.seed,
        )
        self.curves = Curves(folder / CURVES)
        self.board: tensorboard.Board | None = None
        self._board_is_new = not (folder / TENSORBOARD).is_dir()
        if config.trainer.tensorboard:
            self.board = tensorboard.logger(folder / TENSORBOARD, step=self._step)
        self._environment = OwnProcesses()
        self.trainer = self._make_trainer(folder)

    @property
    def device(self) -> torch.device:
        return self.trainer.strategy.root_device

    def run(self) -> None:
        """Train to the end. Returns at once where `last` is the end already."""
        if self.trainer.is_global_zero:
            self._start_curves()
        if self._over:
            log.info("training is over at step %d: only the final reading is left", self._step)
            self.saver.complete_best()
            return
        if self.trainer.is_global_zero:
            self._open_board()
        if self._resumed:
            log.info("going on from %s, step %d", self._resumed, self._step)
        checkpoint_path = str(self._resumed) if self._resumed else None
        try:
            with self.interruption.deferred(), self._companions():
                self.trainer.fit(self.classifier, self.data, ckpt_path=checkpoint_path, weights_only=True)
        except Exception as error:
            if (refusal := self._refused_state(error)) is not None:
                raise refusal from error
            raise
        finally:
            self.trainer.fit_loop.teardown()  # Lightning forgets the training's workers when the validation fails
            self._writer.close()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()  # what follows is the first process' work alone
        if self.trainer.is_global_zero:
            self.saver.complete_best()
        self.interruption.raise_if_asked()

    def _start_curves(self) -> None:
        """Begin or continue curves.csv. Rows that this run has logged and that are gone are told of."""
        noted = self._state.saver if self._state is not None and self._goes_on else None
        rows = noted.rows if noted else 0
        # an older version did not count them: there was one at least
        lacking = self.curves.start(self._step, rows=min(self._step, 1) if rows is None else rows)
        if lacking:
            log.error(
                "%s lacks %d rows that were logged up to step %d: removed or cut while nobody watched; the run goes on"
                " without them, and its record tells of it",
                self.curves.path,
                lacking,
                self._step,
            )
        self.saver.rows_lost = (noted.rows_lost if noted else 0) + lacking

    def _refused_state(self, error: Exception) -> RunError | None:
        """What Lightning's or PyTorch's own parts of a checkpoint hold, and what is wrong with it, if that is why."""
        if self._resumed is None or self.saver.has_stepped or not isinstance(error, _OF_VALUES):
            return None
        if isinstance(error, (RunError, UsageError)) or any(said in str(error) for said in NO_MEMORY):
            return None
        reason = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split()) or "no reason"
        return RunError(
            f"{self._resumed} must hold a state that the run can go on from, and its first step from there ended with:"
            f" {reason}; restore the run's own checkpoint, or start over in another folder (IMGREC_DEBUG=1 shows where)"
        )

    @contextlib.contextmanager
    def _companions(self) -> Iterator[None]:
        """Have the other processes of a distributed run, if it has any."""
        if self.trainer.world_size == 1 or not self.trainer.is_global_zero:
            yield
            return
        with ddp_processes.started(
            self._job.to_json(),
            count=self.trainer.world_size,
            at_port=self._environment.main_port,
            noted=lambda: self.interruption.signum,
        ):
            yield

    def cost(self) -> dict[str, Any]:
        """What the training took. FLOPs: of one forward pass of one image, a multiplication and an addition each."""
        network = self.classifier.network
        parameters = sum(parameter.numel() for parameter in network.parameters())
        source = self.source
        image = torch.zeros(1, source.channels, source.image_size, source.image_size, device=self.classifier.device)
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            network.eval()(image)
        return {
            "seconds": self.speed.wall + time.perf_counter() - self._began,
            "train_seconds": self.speed.seconds,
            "images_per_second": self.speed.images_per_second,
            "parameters": parameters,
            "flops_per_image": counter.get_total_flops(),
        }

    def progress(self) -> dict[str, Any]:
        """How far the training came, and where its best lies."""
        best, lost = self.saver.best, self.saver.best_lost
        told: dict[str, Any] = {"epochs": self._position.saved.epoch, "steps": self.saver.step}
        told["best"] = best.to_plain() if best else None
        if lost is not None:
            told["best_lost"] = lost.to_plain()
        if self.saver.rows_lost:
            told["curve_rows_lost"] = self.saver.rows_lost
        return told

    def _make_trainer(self, folder: Path) -> lightning.Trainer:
        trainer = self.config.trainer
        loggers: list[Logger] = [self.curves, *([self.board] if self.board else [])]
        accelerator = self._accelerator()
        deterministic = accelerator == "cpu" if trainer.deterministic == "auto" else trainer.deterministic == "true"
        # filling fresh memory would guard against reading it unset, at the price of every allocation
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        plugins: list[Any] = [DurableIO(self._writer), self._environment]
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
            callbacks=self._callbacks(),
            logger=loggers,
            plugins=plugins,
            limit_val_batches=0 if self.source.val is None else TRIED if trainer.fast_dev_run else 1.0,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,  # the loaders deal their batches out themselves
            enable_model_summary=False,
            enable_progress_bar=progress.shows_bar(trainer.progress, terminal=sys.stderr.isatty()),
            log_every_n_steps=1,  # Speed decides
        )

    def _accelerator(self) -> str:
        """Cpu or gpu (CUDA's: the scores count in float64, which Apple's GPUs do not have)."""
        asked = self.config.trainer.accelerator
        return asked if asked != "auto" else "gpu" if torch.cuda.is_available() else "cpu"

    def _callbacks(self) -> list[Callback]:
        """In this order: the average takes in a step before it is logged; it is judged before it is saved."""
        trainer = self.config.trainer
        callbacks: list[Callback] = []
        if trainer.ema_decay:
            callbacks.append(Averaging(decay=trainer.ema_decay))
        callbacks.append(self.speed)
        callbacks.extend(progress.callbacks(trainer.progress, self.speed, terminal=sys.stderr.isatty()))
        if trainer.early_stopping:
            if self.source.val is None:
                raise UsageError(
                    "trainer.early_stopping needs validation images; give data.val_size, or early_stopping=0"
                )
            callbacks.append(EarlyStopping(patience=trainer.early_stopping, comparable=self._top1_compare))
        if (prune := self.config.data.prune) > 0:
            after = self.config.data.pruned_after(trainer.max_epochs)
            callbacks.append(Pruning(self.data, share=prune, after=after, seed=self.config.seed))
        callbacks += [self.finite, self.saver]
        return callbacks

    def _last_good(self) -> str | None:
        """Where the run stood when it was last saved, for a reader."""
        path = self._checkpoints / LAST
        try:
            self._writer.wait()
        except RunError:
            return str(path)
        return f"{path} at step {self.saver.step}" if path.exists() else None

    def _open_board(self) -> None:
        if self.board is None:
            return
        if self._board_is_new:
            tensorboard.open_hparams(self.board, self.config, trial=self._trial, parent=self._parent)
            if self.config.trainer.log_graph:
                tensorboard.show_graph(self.board, self.classifier.network, self.source)

    def _inherit(self, path: Path, *, with_best: bool) -> None:
        """Take over the parent's checkpoints."""
        self._checkpoints.mkdir(parents=True, exist_ok=True)
        if with_best and (path.parent / BEST).exists():
            checkpoint.link_or_copy(path.parent / BEST, self._checkpoints / BEST)
        checkpoint.link_or_copy(path, self._checkpoints / LAST)

    @staticmethod
    def _quieten(config: Config) -> None:
        for name in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.WARNING)
        for message in _EXPECTED:
            warnings.filterwarnings("ignore", message=message)
        if not (config.data.streams and torch.cuda.is_available()):  # a GPU would wait for them
            warnings.filterwarnings("ignore", message=r".*does not have many workers.*")


NO_MEMORY = ("can't allocate memory", "out of memory")  # PyTorch's words, on the CPU and on a GPU

# What values of another type, name or shape end in.
_OF_VALUES = (LookupError, TypeError, ValueError, AttributeError, RuntimeError, AssertionError, ArithmeticError)

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
