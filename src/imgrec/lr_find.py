"""Find a learning rate for a run: raise it over a few steps, and see where the loss falls fastest (Smith 2017)."""

import csv
import dataclasses
import io
import math
import shlex
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from matplotlib.figure import Figure
from torch.optim import Optimizer

from imgrec import preflight, run_lookup, runfolder, runlog
from imgrec.config.compose import compose
from imgrec.config.fields import above, at_least
from imgrec.config.overrides import key_of
from imgrec.config.root import Config
from imgrec.data import inventory, sources
from imgrec.errors import RunError, UsageError
from imgrec.job import Job
from imgrec.text_files import write_result
from imgrec.training import threads
from imgrec.training.fitting import Fitting
from imgrec.training.interruption import Interruption
from imgrec.training.process_state import left_as_found

_BETA = 0.98  # of the moving average that tells whether the loss diverges, as in Lightning's and fastai's finders
_DIVERGED = 4.0  # times the least average, after which the loss has diverged, as in Lightning's and fastai's
_AROUND = 4  # steps on each side, over which a loss is averaged: a moving average would lag behind, to greater rates
_LEAST = 30  # steps
_DIGITS = 2  # of a suggested factor, as the loss tells no more
SCALE = "optimizer.lr_scale"


@dataclass(frozen=True, kw_only=True)
class Found:
    """The result.

    Attributes:
        scale: The suggested optimizer.lr_scale.
        rate: The learning rate with it.
        command: The command that trains with it.
        path: The folder with `lr_find.csv` and `lr_find.png`.
    """

    scale: float
    rate: float
    command: str
    path: Path


def lr_find(words: Sequence[str], *, output: Path, low: float, high: float, steps: int) -> Found:
    """Train a new network of this configuration for some steps, each at a greater rate, and suggest one.

    All rates of the optimizer are multiplied by the same factor. The steps have the run's own images, augmentation,
    loss and optimizer. Nothing else is trained, and no run is recorded.

    Args:
        words: The words of the run.
        output: The folder for the table and the figure.
        low: The first factor.
        high: The last factor.
        steps: The number of optimizer steps.

    Raises:
        UsageError: A word is wrong, the run has several processes, or it goes on from another one.
        RunError: No rate lets the loss fall.
    """
    above("--from", low, 0)
    above("--to", high, low)
    at_least("--steps", steps, _LEAST)
    config = compose(words)
    if config.trainer.processes > 1:
        raise UsageError(f"lr-find needs a run of one process, got {config.trainer.processes}; leave out trainer=ddp")
    if config.resume is not None:
        raise UsageError(
            f"lr-find begins with a new network, got resume={config.resume}; leave it out, or begin with its weights:"
            f" init_from={config.resume}"
        )
    with runfolder.in_turn(), runlog.shown(), tempfile.TemporaryDirectory(prefix="imgrec-") as place:
        test = _tried(_short(config, steps), Path(place) / "run", RangeTest(low=low, high=high, steps=steps))
    best = test.steepest()
    if best is None:
        raise RunError(
            f"the loss must fall somewhere between {low:g} and {high:g} times the optimizer's rate, and it does not;"
            " give another --from and --to, or more --steps"
        )
    scale = float(f"{config.optimizer.lr_scale * test.factors[best]:.{_DIGITS}g}")
    others = [word for word in words if key_of(word) != SCALE]
    write_result(output / "lr_find.csv", test.table(config.optimizer.peak))
    write_result(output / "lr_find.png", _drawn(test, config.optimizer.peak, best))
    return Found(
        scale=scale,
        rate=config.optimizer.lr * scale,
        command=f"imgrec train {shlex.join([*others, f'{SCALE}={scale:g}'])}",
        path=output,
    )


class RangeTest(Callback):
    """Multiply all rates by a factor that grows exponentially, and note the losses.

    Args:
        low: The first factor.
        high: The last factor.
        steps: The number of steps.

    Attributes:
        factors: The factor of each step.
        losses: The mean loss of the step's batches.
        has_diverged: True if the loss has become too great, or is not finite.
    """

    def __init__(self, *, low: float, high: float, steps: int) -> None:
        self._low, self._high, self._count = low, high, steps
        self.factors: list[float] = []
        self.losses: list[float] = []
        self.has_diverged = False
        self._batches: list[float] = []
        self._average = 0.0
        self._lowest = math.inf

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, optimizer: Optimizer
    ) -> None:
        factor = self._low * (self._high / self._low) ** (len(self.losses) / (self._count - 1))
        schedule: Any = trainer.lr_scheduler_configs[0].scheduler
        for group, peak in zip(optimizer.param_groups, schedule.base_lrs, strict=True):
            group["lr"] = peak * factor
        self.factors.append(factor)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batches.append(float(outputs["loss"]) * trainer.accumulate_grad_batches)
        if len(self.factors) == len(self.losses):  # the step goes on with the next batch
            return
        self.losses.append(sum(self._batches) / len(self._batches))
        self._batches.clear()
        self._average = _BETA * self._average + (1 - _BETA) * self.losses[-1]
        average = self._average / (1 - _BETA ** len(self.losses))
        self._lowest = min(self._lowest, average)
        self.has_diverged = not average <= _DIVERGED * self._lowest  # also if it is not a number
        trainer.should_stop = self.has_diverged or len(self.losses) == self._count

    @property
    def means(self) -> list[float]:
        """The losses, each averaged with those of the steps around it, up to the last finite one."""
        finite = next((step for step, loss in enumerate(self.losses) if not math.isfinite(loss)), len(self.losses))
        losses = self.losses[:finite]
        return [statistics.fmean(losses[max(0, step - _AROUND) : step + _AROUND + 1]) for step in range(finite)]

    def steepest(self) -> int | None:
        """Return the step at which the mean falls fastest over the factor's logarithm, before it is lowest.

        Returns:
            None if it does not fall.
        """
        means = self.means
        lowest = means.index(min(means)) if means else 0
        slopes = {step: means[step + 1] - means[step - 1] for step in range(1, lowest)}
        return min(slopes, key=lambda step: slopes[step], default=None)

    def table(self, peak: float) -> str:
        """Return the steps as CSV: factor, rate, loss and its mean."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(("step", "factor", "rate", "loss", "mean"))
        for step, (factor, loss, mean) in enumerate(zip(self.factors, self.losses, self.means, strict=False), 1):
            rows.writerow((step, factor, peak * factor, loss, mean))
        return text.getvalue()


def _short(config: Config, steps: int) -> Config:
    """Return the configuration of a training that ends after its steps, without validation or callbacks."""
    return dataclasses.replace(
        config,
        trainer=dataclasses.replace(
            config.trainer,
            max_epochs=max(steps, config.model.unfreeze_at + 1),  # an epoch has at least one step
            fast_dev_run=False,
            profiler="none",
            early_stopping=0,
            checkpoint_every=0,
            log_every=steps,
            log_graph=False,
            nonfinite_skips=0,
            progress="none",
        ),
        data=dataclasses.replace(config.data, prune=0.0),
        loggers=[],
        logger={},
        callbacks=[],
        callback={},
        test=False,
        resume=None,
        force=False,
    )


def _tried(config: Config, folder: Path, test: RangeTest) -> RangeTest:
    """Carry the test out in a temporary folder."""
    seen = inventory.take(config.data)
    preflight.check(config, seen, folder)
    job = Job(
        config=config,
        folder=folder,
        run_id=run_lookup.identity(config, seen.fingerprint),
        fingerprint=seen.fingerprint,
    )
    runfolder.prepare(folder)
    with left_as_found():
        threads.use(config.trainer)
        interruption = Interruption()
        with interruption.watched():
            fitting = Fitting(job, seen, load=sources.load, interruption=interruption)
            fitting.trainer.limit_val_batches = 0
            fitting.trainer.callbacks.insert(0, test)  # type: ignore[attr-defined]
            try:
                fitting.run()
            except RunError:  # of a loss that is not finite, which the guard does not save
                if not test.has_diverged:
                    raise
    return test


def _drawn(test: RangeTest, peak: float, best: int) -> bytes:
    """Return the losses over the rates as a PNG file, with the suggested rate marked."""
    rates = [peak * factor for factor in test.factors]
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    means = test.means
    axes.plot(rates[: len(means)], test.losses[: len(means)], color="0.8", label="loss of a step")
    axes.plot(rates[: len(means)], means, color="#0072b2", label="mean of the steps around it")
    axes.axvline(rates[best], color="#d55e00", label="steepest fall")
    axes.set_xscale("log")
    axes.set_ylim(0, 1.1 * max(means[: best + 1]))
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.legend()
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150)
    return file.getvalue()
