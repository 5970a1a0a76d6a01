"""Measure what the parts of a run take on this machine, in a few seconds, for an estimate of a sweep.

A few batches go the way of any run: `execution.run` in a temporary folder. Training steps, validation and what an epoch
costs besides are timed in a short training of two epochs.
"""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgrec import execution, run_lookup, runfolder
from imgrec.config.root import Config, kept_to_folder
from imgrec.config.trainer import TRIED
from imgrec.data import inventory, sources
from imgrec.data.source import Source
from imgrec.job import Job
from imgrec.sweeps.step_clock import StepClock
from imgrec.training import threads
from imgrec.training.fitting import Fitting
from imgrec.training.interruption import Interruption
from imgrec.training.process_state import left_as_found

_BLOCKS = 8  # of the measured steps; a block's mean includes what only every 50th or 64th step does
_FEWEST = 4  # steps of an epoch that is measured
_TRAINING = 3  # time of a training step, divided by that of a forward pass, about
_SMALL = 16  # images of a validation or test batch in the first tries
_SHARE = 0.6  # of the time for training; the rest is for validation and the final reading


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What was measured, in seconds.

    Attributes:
        first: The first run of a process, without its steps, its validation and its epochs: start, loading of images,
            PyTorch's first use, a final reading of few images, saving.
        later: The same of a further run, which finds images and libraries in memory.
        load: Loading of the images, a part of `first`.
        step: A training step: first quartile, median and third quartile of blocks of steps.
        val_image: A validation image.
        epoch: An epoch besides its steps and its validation images: saving, logging, starting loaders.
        read_image: An image of the final reading under all protocols.
        read: The number of images of the final reading beyond those of `first` and `later`.
        steps: The number of steps that were timed.
        train_images: The number of training images.
        val_images: The number of validation images.
        batch: The number of images of a step.
        flops_per_image: FLOPs of the network's forward pass for an image.
        busy: The share of the time of the steps in which their thread computed; less than 1 where other programs took
            its core. 1 where it is unknown, on a GPU and with loader workers, for which the thread waits.
    """

    first: float
    later: float
    load: float
    step: tuple[float, float, float]
    val_image: float
    epoch: float
    read_image: float
    read: int
    steps: int
    train_images: int
    val_images: int
    batch: int
    flops_per_image: float
    busy: float = 1.0

    def seconds(self, epochs: int, *, first: bool) -> tuple[float, float, float]:
        """Return the seconds of a run of so many epochs: low (with the cores for itself), usual and high.

        Args:
            epochs: The number of epochs.
            first: True for the first run of a process.
        """
        fixed = (self.first if first else self.later) + self.read * self.read_image
        rest = fixed + epochs * (self.val_images * self.val_image + self.epoch)
        low, usual, high = (rest + epochs * self.train_images / self.batch * step for step in self.step)
        return self.busy * low, usual, high


def rehearse(config: Config, folder: Path, seconds: float) -> Rehearsal:
    """Measure a run of this configuration in this process, which should have carried out none yet.

    Args:
        config: The configuration, of a run of one process.
        folder: An empty temporary folder.
        seconds: About how long to measure.

    Raises:
        UsageError, RunError: The run cannot be carried out, or its images would have to be downloaded.
    """
    config = kept_to_folder(dataclasses.replace(config, data=config.data.at_hand(), force=False, resume=None))
    load = _Load()
    small = min(config.data.eval_batch_size, _SMALL)
    first, _ = _try_out(config, folder / "first", small, load)
    later, step = _try_out(config, folder / "later", small, load)
    source = load.source
    assert source is not None, "the runs have loaded it"
    val = 0 if source.val is None else len(source.val)
    steps = max(_FEWEST, int(_SHARE * seconds / 2 / step))
    val_batch = step / _TRAINING * config.data.eval_batch_size / config.data.batch_size  # a guess
    val_batches = max(1, int((1 - _SHARE) * seconds / 4 / val_batch))
    clock = _fit(config, folder / "fit", load, steps=steps, val_batches=val_batches)
    val_image = clock.val_seconds / clock.val_images if clock.val_images else 0.0

    # the final reading: an image more costs what a larger try takes longer
    splits = [source.val] if source.val is not None else []
    if config.test and (test := source.open_test()) is not None:
        splits.append(test)
    lengths = [len(images) for images in splits]
    read_small, read_all = _read(lengths, small), sum(lengths)
    read_image = 0.0
    if read_all > read_small:
        views = 2 * len(lengths) * len(config.protocol)  # best and last; views of a protocol are not counted
        large = (1 - _SHARE) * seconds / (TRIED * (1 + views)) / val_image if val_image else config.data.eval_batch_size
        large = max(small + 1, min(config.data.eval_batch_size, int(large)))
        more = _try_out(config, folder / "large", large, load)[0] - later
        validated = TRIED * (large - small) if val >= TRIED * large else max(0, val - TRIED * small)
        read_image = max(0.0, more - validated * val_image) / max(1, _read(lengths, large) - read_small)
    times = clock.step(config)
    common = TRIED * times[1] + clock.epoch + min(val, TRIED * small) * val_image
    return Rehearsal(
        first=max(0.0, first - common),
        later=max(0.0, later - common),
        load=load.seconds,
        step=times,
        val_image=val_image,
        epoch=clock.epoch,
        read_image=read_image,
        read=read_all - read_small,
        steps=clock.steps,
        train_images=len(source.train),
        val_images=val,
        batch=config.data.batch_size,
        flops_per_image=clock.flops_per_image,
        busy=1.0 if config.data.num_workers else clock.busy,
    )


def _read(lengths: Sequence[int], batch: int) -> int:
    """Return how many images a try reads at its end."""
    return sum(min(length, TRIED * batch) for length in lengths)


class _Load:
    """Load the images once, and note the seconds."""

    def __init__(self) -> None:
        self._kept = sources.Kept()
        self.seconds = 0.0
        self.source: Source | None = None

    def __call__(self, *args: Any) -> Source:
        began = time.perf_counter()
        self.source = self._kept.load(*args)
        self.seconds = max(self.seconds, time.perf_counter() - began)
        return self.source


def _job(config: Config, folder: Path) -> Job:
    seen = inventory.take(config.data)
    begins_with = run_lookup.begins_with(config, seen)
    run_id = run_lookup.identity(config, seen.fingerprint, begins_with=begins_with)
    return Job(config=config, folder=folder, run_id=run_id, fingerprint=seen.fingerprint, begins_with=begins_with)


def _try_out(config: Config, folder: Path, eval_batch: int, load: _Load) -> tuple[float, float]:
    """Return the seconds of a run of few batches in its temporary folder, and those of one of its training steps."""
    trainer = dataclasses.replace(config.trainer, fast_dev_run=True, progress="none")
    data = dataclasses.replace(config.data, eval_batch_size=eval_batch)
    began = time.perf_counter()
    job = _job(dataclasses.replace(config, trainer=trainer, data=data), folder)
    record = execution.run(job, swept=True, load=load)
    return time.perf_counter() - began, record.cost["train_seconds"] / record.progress["steps"]


def _fit(config: Config, folder: Path, load: _Load, *, steps: int, val_batches: int) -> StepClock:
    """Train two short epochs, and return what was noted."""
    trainer = dataclasses.replace(config.trainer, max_epochs=2, progress="none", early_stopping=0)
    data = dataclasses.replace(config.data, prune=0.0)  # an epoch has as many images with it
    model = config.model
    if model.unfreeze_at:  # the longer steps, of the epochs in which all layers train
        model = dataclasses.replace(model, freeze="none", unfreeze_at=0)
    job = _job(dataclasses.replace(config, trainer=trainer, data=data, model=model), folder)
    runfolder.prepare(folder)
    clock = StepClock(max(1, 2 * steps // _BLOCKS))
    with left_as_found():
        threads.use(trainer)
        fitting = Fitting(job, inventory.take(data), load=load, interruption=Interruption())
        fitting.trainer.limit_train_batches = min(steps, -(-len(fitting.source.train) // data.batch_size))
        if fitting.source.val is not None:
            fitting.trainer.limit_val_batches = min(val_batches, -(-len(fitting.source.val) // data.eval_batch_size))
        fitting.trainer.callbacks.append(clock)  # type: ignore[attr-defined]
        fitting.run()
        clock.flops_per_image = float(fitting.cost()["flops_per_image"])
    return clock
