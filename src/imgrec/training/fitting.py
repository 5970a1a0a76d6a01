"""Train one run with Lightning's trainer, from the beginning or from a checkpoint."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import lightning
import torch
from torch.utils.flop_counter import FlopCounterMode

from imgrec import assembly, ddp_processes, distributed, frozen, initial, process_ends, ranks, runlog
from imgrec.classifier import Classifier
from imgrec.data.inventory import Inventory
from imgrec.data.sources import Load
from imgrec.environment import name_of
from imgrec.errors import interruption_in
from imgrec.job import Job
from imgrec.models.network import Network
from imgrec.process_ends import BrokenConnectionError, Cause, Others
from imgrec.runfolder import CHECKPOINTS, CURVES
from imgrec.stored.position import RunPosition
from imgrec.training import lightning_trainer, rendezvous, resume_point, state_errors
from imgrec.training.callback_list import Callbacks
from imgrec.training.checkpoint_io import DurableIO
from imgrec.training.curves import Curves
from imgrec.training.ddp_environment import RunProcesses
from imgrec.training.interruption import Interruption
from imgrec.training.run_loggers import RunLoggers
from imgrec.training.start import Start, take_over
from imgrec.training.writer import Writer

log = logging.getLogger(__name__)


class Fitting:
    """Train the network of a job. After `run`, `checkpoints/last.ckpt` is the run's final state.

    The training continues from the checkpoints in the job's folder, else from those of the job's parent.

    Args:
        job: The run.
        seen: The inventory of the images when the run began.
        load: Loads the images: `sources.load`, or a function that keeps loaded images.
        interruption: Notes the signals that end the run.
    """

    def __init__(self, job: Job, seen: Inventory, *, load: Load, interruption: Interruption) -> None:
        self._began = time.perf_counter()
        self._job, self.config = job, job.config
        self.interruption = interruption
        lightning_trainer.quieten(self.config)
        lightning.seed_everything(self.config.seed, verbose=False)

        # load the state to continue from
        checkpoints = job.folder / CHECKPOINTS
        found = resume_point.newest(checkpoints, job.parent)
        self._start = Start.of(found.state if found else None, job, seen)
        self._position = RunPosition(self._start.position, step=self._start.saved_step)

        # build the network, its images and the callbacks
        self.source = load(self.config.data, seen.listing)
        self.classifier = self._build_classifier(seen)
        self._resumed = None
        if found is not None:  # check first, so that nothing is written if the state does not fit the network
            resume_point.check_architecture(found.path, found.weights, self.classifier)
            self._resumed = take_over(found, checkpoints, with_best=self._start.best_compares)
        self.data = assembly.datamodule(self.config, self.source, position=self._position)
        self._writer = Writer(in_background=self.config.trainer.async_save)
        callbacks = Callbacks.of(
            job,
            self._start,
            data=self.data,
            position=self._position,
            writer=self._writer,
            interruption=interruption,
            frozen=frozen.at_first(self.config, cast(Network, self.classifier.network)),
        )
        self.speed, self.saver, self._named_callbacks = callbacks.speed, callbacks.saver, callbacks.named
        self.curves = Curves(job.folder / CURVES)
        self.other_devices: list[str] = []  # of processes that torchrun or srun started, once these are ready
        self.loggers = RunLoggers.of(job, step=self._start.step)

        # attach all parts to Lightning's trainer
        self._environment = RunProcesses()
        self.trainer = lightning_trainer.make(
            self.config,
            job.folder,
            validates=self.source.val is not None,
            callbacks=callbacks.ordered,
            loggers=[self.curves, *self.loggers.all],
            plugins=[DurableIO(self._writer), self._environment],
        )

    @property
    def device(self) -> torch.device:
        return self.trainer.strategy.root_device

    @property
    def is_over(self) -> bool:
        """True if the state to continue from is already the training's end."""
        return self._start.is_over

    def run(self, *, give_up: Callable[[Cause], None] | None = None) -> None:
        """Train to the end. Return at once if `last` is already the end.

        Args:
            give_up: Is told why the run ends where this process waits for ever for another one, before all exit. Only
                the first process of a run needs it.

        Raises:
            RunError, LostProcess: Another process of the run has failed, or was killed.
        """
        if self.trainer.is_global_zero:
            self._start_curves()
            self._begin_loggers()
        if self.is_over:
            log.info("training is over at step %d: only the final reading is left", self._start.step)
            self.saver.complete_best()
            return
        if self._resumed:
            log.info("going on from %s, step %d", self._resumed, self._start.step)
        checkpoint_path = str(self._resumed) if self._resumed else None
        try:
            with self.interruption.deferred(self._has_steps_to_save), self._others(give_up) as others:
                self._fit(checkpoint_path, others)
        except Exception as error:
            if self._resumed is not None and not self.saver.has_stepped:
                callbacks = {type(each).__module__ for each in self._named_callbacks}
                if (refusal := state_errors.refused(error, self._resumed, callbacks=callbacks)) is not None:
                    raise refusal from error
            raise
        finally:
            try:
                self.trainer.fit_loop.teardown()  # Lightning does not end training workers when the validation fails
                self._writer.close()
            finally:
                distributed.leave(failed=False)  # only the first process goes on from here, or a program's next run
        if self.trainer.is_global_zero:
            self.saver.complete_best()
        self.interruption.raise_if_asked()

    def _start_curves(self) -> None:
        """Begin or continue curves.csv. Missing rows that this run has logged are reported."""
        step, state = self._start.step, self._start.state
        noted = state.saver if state and self._start.is_own else None
        rows = noted.rows if noted else 0
        # an older version did not count the rows; there was at least one
        lacking = self.curves.start(step, rows=min(step, 1) if rows is None else rows)
        if lacking:
            log.error(
                "%s lacks %d rows that were logged up to step %d: removed or cut while nobody watched; the run goes on"
                " without them, and its record tells of it",
                self.curves.path,
                lacking,
                step,
            )
        self.saver.rows_lost = (noted.rows_lost if noted else 0) + lacking

    def _begin_loggers(self) -> None:
        own = self._start.is_own and self.curves.rows > 0
        self.loggers.begin(self._job, curves=self.curves.path if own else None, step=self._start.step)
        if self.config.trainer.log_graph and not self.is_over:
            source = self.source
            grey = torch.full((1, source.channels, source.image_size, source.image_size), 0.5)
            self.loggers.log_network(self.classifier.network, grey)

    def _build_classifier(self, seen: Inventory) -> Classifier:
        """Return the module to train. The seed init_seed determines only its weights."""
        seed, init_seed, resumed = self.config.seed, self.config.init_seed, self._start.state is not None
        begins_with = None
        if self.config.init_from is not None and not resumed:  # a state has its own weights, and needs no others
            begins_with = initial.read(self.config.init_from, expected=self._job.begins_with)
        if init_seed is not None:
            lightning.seed_everything(init_seed, verbose=False)
        classifier = assembly.classifier(
            self.config,
            self.source,
            run_id=self._job.run_id,
            fingerprint=seen.fingerprint,
            resumed=resumed,
            begins_with=begins_with,
            position=self._position,
        )
        if init_seed is not None:
            lightning.seed_everything(seed, verbose=False)
        return classifier

    def _fit(self, checkpoint_path: str | None, others: Others | None) -> None:
        """Let Lightning train, together with the other processes of the run.

        Raises:
            RunError, LostProcess: Another process ended this one, for this reason.
            BrokenConnectionError: Another process ended this one, which is not the first and knows no reason.
        """
        try:
            if others is not None:
                others.wait_until_ready()
                self.other_devices = others.devices() if isinstance(others, rendezvous.Started) else []
            elif ranks.rank() > 0:
                rendezvous.say_ready(self._start.step, name_of(self.device))
            self.trainer.fit(self.classifier, self.data, ckpt_path=checkpoint_path, weights_only=True)
        except Exception as error:
            if interruption_in(error) is None:
                distributed.leave(failed=True)  # so that the others notice
            if self.trainer.world_size == 1 or not distributed.is_broken(error):
                raise
            if others is None:
                raise BrokenConnectionError(f"lost the connection to another process of the run: {error}") from error
            if (cause := others.cause()) is not None:
                if ranks.here().from_outside:
                    log.error("%s", cause)  # the program that has started them may end this one before its last line
                raise cause from error
            raise

    def _has_steps_to_save(self) -> bool:
        """Return False as long as a signal may end the training at once, as compiling may take minutes."""
        return not self.config.trainer.compile or self.saver.has_stepped

    @contextlib.contextmanager
    def _others(self, give_up: Callable[[Cause], None] | None) -> Iterator[Others | None]:
        """Give the first process the others of a distributed run, which train along during the block; else None."""
        if self.trainer.world_size == 1 or not self.trainer.is_global_zero:
            yield None
            return
        assert give_up is not None, "of the first process"
        job, log_path = self._job.to_json(), self._job.folder / runlog.LOG
        if ranks.here().from_outside:
            others = rendezvous.Started(job, self._start.step, log_path, lambda: self.interruption.signum)
            with process_ends.watched(others, give_up):
                yield others
            return
        with ddp_processes.started(
            job,
            count=self.trainer.world_size,
            at_port=self._environment.main_port,
            log=log_path,
            asked=lambda: self.interruption.signum,
            give_up=give_up,
        ) as companions:
            try:
                yield companions
            except BaseException:
                if not self.saver.has_stepped:  # nothing is saved; they still compile, or wait for this process
                    companions.kill()
                raise

    def cost(self) -> dict[str, Any]:
        """Return the times of the run, and the parameters and FLOPs of its network.

        FLOPs are those of one forward pass of one image, with a multiplication and an addition counted as two.
        """
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
        """Return how far the training has come, and its best epoch."""
        best, lost = self.saver.best, self.saver.best_lost
        told: dict[str, Any] = {"epochs": self._position.saved.epoch, "steps": self.saver.step}
        told["best"] = best.to_plain() if best else None
        if lost is not None:
            told["best_lost"] = lost.to_plain()
        if self.saver.rows_lost:
            told["curve_rows_lost"] = self.saver.rows_lost
        return told
