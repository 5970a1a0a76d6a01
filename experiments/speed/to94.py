"""Seconds and FLOPs of a run: `experiment=speed94` beside the published recipe as a plain script.

The seconds are projected. Training is timed on a twelfth of the images or less: as many epochs as the recipe has, of a
few steps each, so that every phase of it takes its share. Rates, times the images of a whole run, and the costs that
come once (reading the data, the first layer, the end of each epoch, the test set) make the seconds of a run. Left out
on both sides: the start of Python and its imports, and what only a run of imgrec has, its record and TensorBoard's
events.
FLOPs are those of the network, forward and backward; what the optimizer computes is not among them.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import published
import torch
from ratios import Row, alone, ratio
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from imgrec import assembly, networks
from imgrec.allocator import keep_freed_memory
from imgrec.config.compose import compose
from imgrec.config.root import Config
from imgrec.data import inventory, sources
from imgrec.data.resize import side_at
from imgrec.data.source import Images, MemoryImages
from imgrec.job import Job
from imgrec.training import final
from imgrec.training.fitting import Fitting
from imgrec.training.interruption import Interruption

OURS, PUBLISHED, KEPT = "imgrec, speed94", "published recipe", "published recipe, memory kept"
STEPS = {OURS: 8, PUBLISHED: 2, KEPT: 2}  # of an epoch: 4000 images
PRODUCT = 4096  # rows and columns of the matrices whose product shows what the machine can do


@dataclass(frozen=True, kw_only=True)
class Cost:
    """rate: images per second of training steps. once: seconds of a run beside its training steps."""

    rate: float
    once: float


def ours(root: Path, steps: int, *, whole: bool) -> Cost:
    """whole: also read the test set, which takes as long as the training here; otherwise `once` lacks it."""
    keep_freed_memory()
    config = _config(root)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        interruption = Interruption()
        with interruption.watched():
            seen = inventory.take(config.data)
            job = Job(config=config, folder=Path(folder), run_id="benchmark", fingerprint=seen.fingerprint)
            fitting = Fitting(job, seen, load=sources.load, interruption=interruption)
            fitting.source.train = _first(fitting.source.train, steps * config.data.batch_size)
            fitting.run()
        if whole:
            final.read(config, Path(folder), fitting)
    return Cost(rate=fitting.speed.images_per_second, once=time.perf_counter() - began - fitting.speed.seconds)


def theirs(root: Path, steps: int, *, whole: bool) -> Cost:
    """The published recipe, in a process with the C library's own ways with memory."""
    began = time.perf_counter()
    images = published.Images(str(root), torch.device("cpu"))
    images.first(steps * published.BATCH)
    training = published.Training(images, epochs=published.EPOCHS, seed=0)
    started = time.perf_counter()
    seen = sum(training.steps())
    seconds = time.perf_counter() - started
    if whole:
        training.accuracy()
    return Cost(rate=seen / seconds, once=time.perf_counter() - began - seconds)


def theirs_kept(root: Path, steps: int, *, whole: bool) -> Cost:
    """The same in a process that keeps freed memory, as imgrec's do."""
    keep_freed_memory()
    return theirs(root, steps, whole=whole)


WAYS: dict[str, Callable[..., Cost]] = {OURS: ours, PUBLISHED: theirs, KEPT: theirs_kept}


def measure(root: Path, rounds: int) -> list[Row]:
    """Ratios of seconds and FLOPs to 94 %, then what they were made of."""
    config = _config(root)
    images = {OURS: 50_000 * config.trainer.max_epochs, PUBLISHED: 50_000 * published.EPOCHS}
    images[KEPT] = images[PUBLISHED]
    flops = {OURS: alone(lambda: _our_flops(config)), PUBLISHED: alone(_their_flops)}
    flops[KEPT] = flops[PUBLISHED]
    costs: dict[str, list[Cost]] = {name: [] for name in WAYS}
    once: dict[str, list[float]] = {name: [] for name in WAYS}
    products = []
    for number in range(rounds):
        products.append(alone(_product_rate))
        for name, way in WAYS.items():
            once[name].append(alone(lambda way=way: way(root, 1, whole=True)).once)  # type: ignore[misc]
            costs[name].append(alone(lambda way=way, name=name: _warm(way, root, STEPS[name])))  # type: ignore[misc]
        line = "  ".join(f"{name}: {its[-1].rate:.0f} images/s" for name, its in costs.items())
        print(f"to 94 %, round {number + 1}/{rounds}: {line}", file=sys.stderr)
    seconds = {
        name: Row(
            name=f"{name}: projected run",
            values=tuple(images[name] / cost.rate + its for cost, its in zip(costs[name], once[name], strict=True)),
            unit="s",
        )
        for name in WAYS
    }
    work = {name: flops[name] * images[name] / 1e15 for name in WAYS}
    product = Row(name="bfloat16 product of 4096 x 4096 matrices", values=tuple(products), unit="TFLOP/s")
    reached = {
        name: Row(
            name=f"{name}: rate of training",
            values=tuple(cost.rate * flops[name] / 1e12 for cost in its),
            unit="TFLOP/s",
        )
        for name, its in costs.items()
    }
    return [
        ratio("seconds, imgrec / published", seconds[OURS], seconds[PUBLISHED], aim="<= 0.8"),
        ratio("seconds, imgrec / published with memory kept", seconds[OURS], seconds[KEPT], aim="<= 0.8"),
        Row(name="FLOPs, imgrec / published", values=(work[OURS] / work[PUBLISHED],), aim="<= 0.8"),
        *seconds.values(),
        *(Row(name=f"{name}: beside training steps", values=tuple(once[name]), unit="s of these") for name in WAYS),
        *(Row(name=f"{name}: work of training", values=(work[name],), unit="PFLOP") for name in (OURS, PUBLISHED)),
        *(ratio(f"share of the product's rate, {name}", row, product) for name, row in reached.items()),
        product,
        *reached.values(),
        *(
            Row(name=f"{name}: training", values=tuple(cost.rate for cost in its), unit="images/s")
            for name, its in costs.items()
        ),
    ]


def _warm(way: Callable[..., Cost], root: Path, steps: int) -> Cost:
    """After a short run: the first steps fetch memory that later ones use again."""
    way(root, 1, whole=False)
    return way(root, steps, whole=False)


def _config(root: Path) -> Config:
    words = ["experiment=speed94", f"data.root='{root}'", "data.download=false", "trainer=cpu"]
    return compose([*words, "trainer.precision=bf16-mixed", "trainer.progress=plain", "trainer.tensorboard=false"])


def _first(images: Images, count: int) -> MemoryImages:
    images_nchw, _ = images.read(torch.arange(count))
    return MemoryImages(images_nchw, images.labels[:count])


def _product_rate() -> float:
    """TFLOP/s of the machine's best case: no memory is fetched anew while it multiplies."""
    keep_freed_memory()
    a, b, product = (torch.randn(PRODUCT, PRODUCT).bfloat16() for _ in range(3))
    times = []
    for _ in range(8):
        began = time.perf_counter()
        torch.mm(a, b, out=product)
        times.append(time.perf_counter() - began)
    return 2 * PRODUCT**3 / statistics.median(times[1:]) / 1e12


def _our_flops(config: Config) -> float:
    """FLOPs of training on an image, the mean over the stages of resizing."""
    source = assembly.source(config)
    network = networks.network(
        config, classes=len(source.classes), image_size=32, channels=3, mean=source.mean, std=source.std
    ).train()
    sides = [side_at(config.augment, step / 1000) or 32 for step in range(1000)]
    by_side = {side: _flops(network, side) for side in set(sides)}
    return sum(by_side[side] for side in sides) / len(sides)


def _their_flops() -> float:
    """Likewise, the mean over the epochs with and without the first layer's bias."""
    net = published.Net().train()
    with_bias = _flops(net, 32)
    assert net.whiten.bias is not None
    net.whiten.bias.requires_grad_(False)
    share = published.WHITEN_BIAS_EPOCHS / published.EPOCHS
    return share * with_bias + (1 - share) * _flops(net, 32)


def _flops(network: nn.Module, side: int, images: int = 4) -> float:
    """Forward and backward, an image: a multiplication and an addition each. In float32, where nothing is padded."""
    counter = FlopCounterMode(display=False)
    with counter:
        network(torch.rand(images, 3, side, side)).sum().backward()
    return counter.get_total_flops() / images
