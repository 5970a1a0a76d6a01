"""What the framework costs: `imgrec train` beside bare PyTorch loops, on CIFAR-10 with the cnn.

Four ways to train the same network with the same optimizer, loss, precision and memory format, in turn, so that a
machine that changes its pace changes it for all, each time in a process of its own:

A  imgrec: assembly, `Fitting`, Lightning's trainer with every callback, logger and metric of a run;
B  a bare loop over the same in-memory batches (the same loader), in a process that keeps freed memory as A's does;
C  the bare loop over torchvision's CIFAR10, cropped and flipped image by image in a DataLoader with 2 workers, which
   start within the clock, as they do in every epoch of such a script;
D  as B, in a process that gives freed memory back, as C's and any other does.

The clock runs from the beginning of an epoch to the end of its last step, as `images_per_second` counts in a run: the
checkpoint at the end of an epoch is not in it.
"""

import contextlib
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from ratios import Row, alone, ratio
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

from imgrec import assembly
from imgrec.allocator import keep_freed_memory
from imgrec.config.compose import compose
from imgrec.config.root import Config
from imgrec.data import inventory, sources
from imgrec.data.loader import train_loader
from imgrec.data.source import MemoryImages, Source
from imgrec.job import Job
from imgrec.models.build import build as build_network
from imgrec.optim.build import build_optimizer
from imgrec.training.fitting import Fitting
from imgrec.training.interruption import Interruption

IMAGES = 32_768  # of a measurement: 512 or 64 steps, so that steps are logged and metrics counted within it
WARM_UP = 8  # steps
TARGETS = {64: (">= 0.95", ">= 1.5"), 512: (">= 0.97", ">= 1.5")}  # batch size: A/B and A/C
WAYS = ("A imgrec", "B bare loop, same batches", "C bare loop, torchvision", "D as B, memory given back")

Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One configuration, and the images that an epoch of a measurement visits."""

    config: Config
    data_root: Path
    source: Source


def prepare(root: Path, batch_size: int, *, precision: str, steps: int | None) -> Setting:
    """The run's configuration, and CIFAR-10 cut down to the first images. Raises RunError when it is not there."""
    config = compose(
        [
            "data=cifar10",
            "data.download=false",
            "data.val_size=0",  # the steps of training alone are measured
            f"data.root='{root}'",
            f"data.batch_size={batch_size}",
            "model=cnn",
            "optimizer=momentum",
            "augment=crop_flip",
            "trainer=cpu",
            "trainer.max_epochs=1",
            f"trainer.precision={precision}",
            "trainer.progress=plain",
        ]
    )
    source = assembly.source(config)
    source.train = _first(source, (steps or IMAGES // batch_size) * batch_size)
    return Setting(config=config, data_root=root, source=source)


def _first(source: Source, count: int) -> MemoryImages:
    images_nchw, _ = source.train.read(torch.arange(min(count, len(source.train))))
    return MemoryImages(images_nchw, source.train.labels[: len(images_nchw)])


def imgrec_rate(setting: Setting) -> float:
    """A: images per second of the training path of `imgrec train`."""
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        interruption = Interruption()
        with interruption.watched():
            seen = inventory.take(setting.config.data)
            job = Job(config=setting.config, folder=Path(folder), run_id="benchmark", fingerprint=seen.fingerprint)
            fitting = Fitting(job, seen, load=sources.load, interruption=interruption)
            fitting.source.train = setting.source.train
            fitting.run()
    return fitting.speed.images_per_second


def bare_rate(setting: Setting) -> float:
    """B: images per second of a bare loop over imgrec's own batches."""
    keep_freed_memory()
    return usual_rate(setting)


def usual_rate(setting: Setting) -> float:
    """D: as B, with the C library's own ways with memory."""
    config, source = setting.config, setting.source
    batches = train_loader(
        source.train,
        augment=config.augment,
        num_classes=len(source.classes),
        batch_size=config.data.batch_size,
        seed=config.seed,
    )
    return _loop(setting, batches)


def torchvision_rate(setting: Setting) -> float:
    """C: images per second of a bare loop over torchvision's usual pipeline; the network normalises, as in A and B."""
    images = datasets.CIFAR10(
        setting.data_root,
        train=True,
        transform=transforms.Compose(
            [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
        ),
    )
    batches: Batches = DataLoader(
        Subset(images, range(len(setting.source.train))),
        batch_size=setting.config.data.batch_size,
        shuffle=True,
        num_workers=2,
    )
    return _loop(setting, batches)


def _loop(setting: Setting, batches: Batches) -> float:
    """Train over the batches with nothing around it; images per second."""
    config, source = setting.config, setting.source
    torch.use_deterministic_algorithms(False)  # PyTorch's own default, which imgrec changes for its runs
    torch.manual_seed(config.seed)
    memory_format = torch.channels_last if config.trainer.channels_last else torch.contiguous_format
    network = build_network(
        config.model,
        num_classes=len(source.classes),
        image_size=source.image_size,
        channels=source.channels,
        mean=source.mean,
        std=source.std,
    ).to(memory_format=memory_format)
    loss_of = config.loss.build()
    optimizer = build_optimizer(config.optimizer, network)
    mixed = config.trainer.precision != "32"
    seen = 0
    began = time.perf_counter()
    for images_nchw, labels_n in batches:
        with torch.autocast("cpu", torch.bfloat16) if mixed else contextlib.nullcontext():
            loss = loss_of(network(images_nchw.contiguous(memory_format=memory_format)), labels_n)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        seen += len(labels_n)
    return seen / (time.perf_counter() - began)


def measure(root: Path, rounds: int, *, batch_size: int, precision: str = "32", steps: int | None = None) -> list[Row]:
    """Ratios of rates and of peak memory, then the figures that they were made of."""
    setting = prepare(root, batch_size, precision=precision, steps=steps)
    ways = (imgrec_rate, bare_rate, torchvision_rate, usual_rate)
    rates: list[list[float]] = [[] for _ in ways]
    peaks: list[list[float]] = [[] for _ in ways]
    for number in range(rounds):
        for way, its_rates, its_peaks in zip(ways, rates, peaks, strict=True):
            rate, peak = alone(lambda way=way: _rate_and_peak(way, setting))  # type: ignore[misc]
            its_rates.append(rate)
            its_peaks.append(peak)
        line = "  ".join(f"{name[0]} {its[-1]:.0f}" for name, its in zip(WAYS, rates, strict=True))
        print(f"batch {batch_size}, round {number + 1}/{rounds}: {line} images/s", file=sys.stderr)
    a, b, c, d = (Row(name=name, values=tuple(its), unit="images/s") for name, its in zip(WAYS, rates, strict=True))
    over_a, over_b, *_ = (  # of C its own process alone would be counted, without its workers
        Row(name=f"{name}: peak memory", values=tuple(its), unit="MiB") for name, its in zip(WAYS, peaks, strict=True)
    )
    bare, usual = TARGETS.get(batch_size, ("", ""))
    return [
        ratio("A / B", a, b, aim=bare),
        ratio("A / C", a, c, aim=usual),
        ratio("A / D", a, d),
        ratio("peak memory, A / B", over_a, over_b),
        *(a, b, c, d, over_a, over_b),
    ]


def _rate_and_peak(way: Callable[[Setting], float], setting: Setting) -> tuple[float, float]:
    """The way's rate after a short run to warm up, and the most memory that its process held, in MiB."""
    full = setting.source.train
    setting.source.train = _first(setting.source, WARM_UP * setting.config.data.batch_size)
    way(setting)
    setting.source.train = full
    return way(setting), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
