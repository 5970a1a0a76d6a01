"""How the CPU multiplies matrices of bfloat16, which decides what is fastest on it."""

import functools
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

_REPEATS = 3  # of each timing, of which the fastest counts


def has_amx() -> bool:
    """Return True if it does so in tiles (Intel AMX)."""
    return _capable("amx_bf16")


def has_bfloat16() -> bool:
    """Return True if it does so at all, in tiles or in vectors (AVX512-BF16), and oneDNN may use them."""
    return (has_amx() or _capable("avx512_bf16")) and sums_in_float32()


def sums_in_float32() -> bool:
    """Return True if oneDNN multiplies bfloat16 on this CPU: sums are taken in float32 and rounded once.

    Otherwise (no AVX-512, or ONEDNN_MAX_CPU_ISA=AVX2) PyTorch's own loops round each image's part of a weight gradient,
    and each kernel position's part of an image gradient, to bfloat16.
    """
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@functools.cache
def bfloat16_slowdown() -> float:
    """How many times longer a convolution takes in bfloat16 than in float32. Below 1: bfloat16 is faster.

    It is measured once a process: in 10 ms where the CPU has bfloat16, in half a second where it emulates it. The
    answer includes what PyTorch and oneDNN were told about the CPU (ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA).
    """
    generator = torch.Generator().manual_seed(0)  # the global one belongs to the run
    images_nchw = torch.randn(32, 32, 16, 16, generator=generator)
    weight_ochw = torch.randn(32, 32, 3, 3, generator=generator)
    lower = images_nchw.bfloat16(), weight_ochw.bfloat16()
    with torch.inference_mode():
        in_float32 = _fastest(lambda: F.conv2d(images_nchw, weight_ochw, padding=1))
        return _fastest(lambda: F.conv2d(*lower, padding=1)) / in_float32


def _fastest(work: Callable[[], Tensor]) -> float:
    """Seconds of the fastest of some calls, after one that prepares."""
    work()
    seconds = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _capable(what: str) -> bool:
    """False where PyTorch does not tell, as its older versions."""
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    return capabilities is not None and bool(capabilities().get(what, False))
