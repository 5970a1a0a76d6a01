"""Find out how the CPU multiplies bfloat16 matrices, which decides on the fastest arithmetic."""

import functools
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

_REPEATS = 3  # repetitions of a timing; the fastest counts


def has_amx() -> bool:
    """Return True if the CPU multiplies bfloat16 in tiles (Intel AMX)."""
    return _capable("amx_bf16")


def has_bfloat16() -> bool:
    """Return True if the CPU multiplies bfloat16 in tiles or vectors (AVX512-BF16), and oneDNN may use them."""
    return (has_amx() or _capable("avx512_bf16")) and sums_in_float32()


def sums_in_float32() -> bool:
    """Return True if oneDNN multiplies bfloat16 on this CPU: sums are computed in float32 and rounded once.

    Otherwise (no AVX-512, or ONEDNN_MAX_CPU_ISA=AVX2) PyTorch's own loops round the part of each image in a weight
    gradient, and the part of each kernel position in an image gradient, to bfloat16.
    """
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@functools.cache
def bfloat16_slowdown() -> float:
    """Return the time of a convolution in bfloat16 divided by that in float32. Below 1, bfloat16 is faster.

    It is measured once per process: in 10 ms if the CPU has bfloat16, in half a second if it emulates it. The settings
    of PyTorch and oneDNN (ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA) affect the result.
    """
    generator = torch.Generator().manual_seed(0)  # the global generator belongs to the run
    images_nchw = torch.randn(32, 32, 16, 16, generator=generator)
    weight_ochw = torch.randn(32, 32, 3, 3, generator=generator)
    lower = images_nchw.bfloat16(), weight_ochw.bfloat16()
    with torch.inference_mode():
        in_float32 = _fastest(lambda: F.conv2d(images_nchw, weight_ochw, padding=1))
        return _fastest(lambda: F.conv2d(*lower, padding=1)) / in_float32


def _fastest(work: Callable[[], Tensor]) -> float:
    """Return the seconds of the fastest of some calls, after a first call for preparation."""
    work()
    seconds = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _capable(what: str) -> bool:
    """Return True if the CPU has the feature; False if PyTorch does not report it, as in older versions."""
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    return capabilities is not None and bool(capabilities().get(what, False))
