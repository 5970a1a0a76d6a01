"""Milliseconds of one weight gradient in bfloat16 on the CPU: PyTorch's convolution beside that for small images."""

import time
from collections.abc import Callable
from functools import partial

import torch
from ratios import Row, alone, ratio
from torch import nn

from imgrec.allocator import keep_freed_memory
from imgrec.models.convolution import SmallImageConv

# images, inputs, outputs, kernel, side: the stages of whitened_cnn, then layers of ResNet-50 at 32, 24 and 16 px
SHAPES = (
    (500, 256, 256, 3, 7),
    (500, 256, 256, 3, 3),
    (128, 256, 256, 3, 8),
    (128, 512, 512, 3, 6),
    (128, 512, 512, 3, 4),
    (128, 512, 512, 3, 2),
    (128, 256, 1024, 1, 8),
    (128, 512, 2048, 1, 4),
)
REPEATS = 15


def milliseconds(plain: bool, images: int, inputs: int, outputs: int, kernel: int, side: int) -> float:
    """The median over repeated backward passes that need the weight's gradient alone."""
    keep_freed_memory()
    if plain:
        layer: nn.Conv2d = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    else:
        layer = SmallImageConv(inputs, outputs, kernel_size=kernel)
    layer = layer.to(dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    batch = torch.randn(images, inputs, side, side).bfloat16().contiguous(memory_format=torch.channels_last)
    values = layer(batch)
    gradient = torch.randn_like(values)
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        torch.autograd.grad(values, [layer.weight], gradient, retain_graph=True)
        times.append(1000 * (time.perf_counter() - began))
    return sorted(times)[REPEATS // 2]


def measure(rounds: int) -> list[Row]:
    rows = []
    for shape in SHAPES:
        images, inputs, outputs, kernel, side = shape
        sides: tuple[Callable[[], float], ...] = tuple(partial(milliseconds, plain, *shape) for plain in (True, False))
        figures = [tuple(alone(one) for one in sides) for _ in range(rounds)]
        name = f"{images} images, {inputs} to {outputs}, {kernel}x{kernel}, {side} px"
        plain, ours = (
            Row(name=f"{name}: {what}", values=tuple(figure[k] for figure in figures), unit="ms")
            for k, what in enumerate(("PyTorch", "imgrec"))
        )
        rows += [ratio(f"{name}: PyTorch / imgrec", plain, ours), plain, ours]
    return rows
