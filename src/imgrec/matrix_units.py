"""How the CPU multiplies matrices of bfloat16, which decides what is fastest on it."""

import torch


def has_amx() -> bool:
    """Whether it does so in tiles (Intel AMX)."""
    return _capable("amx_bf16")


def has_bfloat16() -> bool:
    """Whether it does so at all, in tiles or in vectors (AVX512-BF16), instead of by way of float32."""
    return has_amx() or _capable("avx512_bf16")


def _capable(what: str) -> bool:
    """False where PyTorch does not tell, as its older versions."""
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    return capabilities is not None and bool(capabilities().get(what, False))
