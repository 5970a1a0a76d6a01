"""What the framework costs: `imgrec train` beside bare PyTorch loops, on CIFAR-10 with the cnn.

    python benchmarks/overhead.py [--data-root DIR] [--batch-sizes 64 512] [--rounds 5] [--steps N] [--precision 32]

Four ways to train the same network with the same optimizer, loss, precision and memory format, in turn, so that a
machine that changes its pace changes it for all, each time in a process of its own:

A  imgrec: assembly, `Fitting`, Lightning's trainer with every callback, logger and metric of a run;
B  a bare loop over the same in-memory batches (the same loader), in a process that keeps freed memory as A's does;
C  the bare loop over torchvision's CIFAR10, cropped and flipped image by image in a DataLoader with 2 workers;
D  as B, in a process that gives freed memory back, as C's and any other does.

The clock runs from the beginning of an epoch to the end of its last step, as `images_per_second` counts in a run.
"""

import argparse
import contextlib
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

from imgrec import assembly, losses
from imgrec.allocator import keep_freed_memory
from imgrec.config.compose import compose
from imgrec.config.data import default_root
from imgrec.config.root import Config
from imgrec.data import inventory
from imgrec.data.loader import train_loader
from imgrec.data.source import MemoryImages, Source
from imgrec.environment import environment
from imgrec.errors import RunError, UsageError
from imgrec.models.build import build as build_network
from imgrec.optim.build import build_optimizer
from imgrec.training.fitting import Fitting
from imgrec.training.interruption import Interruption

IMAGES = 32_768  # of a measurement: 512 or 64 steps, so that steps are logged and metrics counted within it
WARM_UP = 8  # steps
TARGETS = {64: (0.95, 1.5), 512: (0.97, 1.5)}  # batch size: A/B and A/C, at least
WAYS = ("A imgrec", "B bare loop, same batches", "C bare loop, torchvision", "D as B, memory given back")

Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One configuration, and the images that an epoch of a measurement visits."""

    config: Config
    data_root: Path
    source: Source


def prepare(arguments: argparse.Namespace, batch_size: int) -> Setting:
    """The run's configuration, and CIFAR-10 cut down to the first images. Raises RunError when it is not there."""
    config = compose(
        [
            "data=cifar10",
            "data.download=false",
            "data.val_size=0",  # the steps of training alone are measured
            f"data.root='{arguments.data_root}'",
            f"data.batch_size={batch_size}",
            "model=cnn",
            "optimizer=momentum",
            "augment=crop_flip",
            "trainer=cpu",
            "trainer.max_epochs=1",
            f"trainer.precision={arguments.precision}",
            f"trainer.channels_last={arguments.memory_format == 'channels_last'}",
            f"trainer.progress={arguments.progress}",
        ]
    )
    source = assembly.source(config)
    steps = arguments.steps or IMAGES // batch_size
    source.train = _first(source, steps * batch_size)
    return Setting(config=config, data_root=Path(arguments.data_root).expanduser(), source=source)


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
            fitting = Fitting(setting.config, Path(folder), "benchmark", seen, parent=None, interruption=interruption)
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
    loss_of = losses.build(config.loss)
    optimizer = build_optimizer(config.optimizer, network)
    mixed = config.trainer.precision != "32"
    seen = 0
    began = time.perf_counter()
    for images_nchw, labels_n in batches:
        with torch.autocast("cpu", torch.bfloat16) if mixed else contextlib.nullcontext():
            loss = loss_of(network(images_nchw.contiguous(memory_format=memory_format)), labels_n)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen += len(labels_n)
    return seen / (time.perf_counter() - began)


def measure(setting: Setting, rounds: int) -> list[tuple[float, ...]]:
    """The rates of A, B, C and D, round by round."""
    rates = []
    for number in range(rounds):
        a, b, c, d = (_alone(way, setting) for way in (imgrec_rate, bare_rate, torchvision_rate, usual_rate))
        rates.append((a, b, c, d))
        ratios = f"A/B {a / b:.3f}  A/C {a / c:.2f}  A/D {a / d:.2f}"
        line = f"round {number + 1}/{rounds}: A {a:.0f}  B {b:.0f}  C {c:.0f}  D {d:.0f} images/s  {ratios}"
        print(line, file=sys.stderr)
    return rates


def _alone(way: Callable[[Setting], float], setting: Setting) -> float:
    """The way's rate in a new process, so that nothing it sets there helps another; after a short run to warm up.

    Forked, which PyTorch allows as long as this process has not computed anything itself.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def work() -> None:
        full = setting.source.train
        setting.source.train = _first(setting.source, WARM_UP * setting.config.data.batch_size)
        way(setting)
        setting.source.train = full
        sender.send(way(setting))

    process = context.Process(target=work)
    process.start()
    sender.close()
    try:
        return float(receiver.recv())
    except EOFError:
        raise RunError(f"{way.__name__} failed; its own message stands above") from None
    finally:
        process.join()


def report(batch_size: int, rates: list[tuple[float, ...]]) -> str:
    """Images per second and ratios, each as median [least, most] over the rounds."""
    rows = [f"batch {batch_size}"]
    for index, name in enumerate(WAYS):
        rows.append(f"  {name:<28}{_spread([rate[index] for rate in rates], 0)} images/s")
    aims = TARGETS.get(batch_size, (None, None))
    for name, other, aim in (("A/B", 1, aims[0]), ("A/C", 2, aims[1]), ("A/D", 3, None)):
        ratios = [rate[0] / rate[other] for rate in rates]
        verdict = "" if aim is None else f"   aim >= {aim}: {'met' if statistics.median(ratios) >= aim else 'MISSED'}"
        rows.append(f"  {name:<28}{_spread(ratios, 3)}{verdict}")
    return "\n".join(rows)


def _spread(values: list[float], digits: int) -> str:
    median, least, most = statistics.median(values), min(values), max(values)
    return f"{median:8.{digits}f} [{least:.{digits}f}, {most:.{digits}f}]"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-root", default=default_root(), help="holds cifar-10-batches-py (default: %(default)s)")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=list(TARGETS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, help=f"of a measurement (default: {IMAGES} images' worth)")
    parser.add_argument("--precision", choices=("32", "bf16-mixed"), default="32")
    parser.add_argument("--memory-format", choices=("channels_last", "contiguous"), default="channels_last")
    parser.add_argument("--progress", default="plain", help="imgrec's trainer.progress (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        reports = []
        for batch_size in arguments.batch_sizes:
            reports.append(report(batch_size, measure(prepare(arguments, batch_size), arguments.rounds)))
    except (RunError, UsageError) as error:
        print(f"overhead: {error}", file=sys.stderr)
        return 1
    about = environment()
    code = f"commit {about['commit']}{' (dirty)' if about['dirty'] else ''}"
    print("\n".join(reports))
    print(
        f"{arguments.precision}, {arguments.memory_format}, {arguments.rounds} rounds; median [least, most]\n"
        f"{about['cpu']}, {about['cores']} cores, {about['threads']} threads; {about['platform']}\n"
        f"python {about['python']}, torch {about['torch']}, torchvision {about['torchvision']}, lightning"
        f" {about['lightning']}; imgrec {about['imgrec']}, {code}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
