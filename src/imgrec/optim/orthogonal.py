"""Newton-Schulz iteration: a matrix with the same singular vectors and singular values near 1."""

# R rows, C columns

import functools

import torch
from torch import Tensor

from imgrec.cpu_features import has_bfloat16

# Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks" (kellerjordan.github.io/posts/muon):
# x -> a x + b x^3 + c x^5 with the steepest start that keeps [0, 1] bounded. It ends in about [0.7, 1.2], not at 1,
# which costs nothing in training and saves iterations.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_EPS = 1e-7  # the same source: keeps the division finite for a matrix of zeros


@functools.cache
def working_type(device: torch.device) -> torch.dtype:
    """bfloat16, as published, on GPUs and CPUs that multiply it as such; float32 on every other.

    What emulates bfloat16 products is slower than in float32. For a step of ResNet-50 an AMD EPYC with AVX512-BF16
    takes 0.40 s in bfloat16 and 0.52 s in float32; with AMX 512 x 2048 takes a fifth of the time.
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and has_bfloat16()
    return torch.bfloat16 if native else torch.float32


def orthogonalized(matrix_rc: Tensor, *, steps: int, dtype: torch.dtype) -> Tensor:
    """U p(S) V^T for matrix_rc = U S V^T, S scaled to Frobenius norm 1, p the polynomial `steps` times over.

    steps: >= 1. Returns (R, C) in `dtype`, the type of all products; a matrix of zeros stays zero. Takes no part
    in autocast, which would choose other types.
    """
    with torch.autocast(matrix_rc.device.type, enabled=False):
        wide = matrix_rc.to(dtype)
        if wide.shape[0] > wide.shape[1]:  # the products below are of the shorter side
            wide = wide.T
        wide = wide / wide.norm().clamp(min=_EPS)
        result = _by_gram(wide, steps) if dtype == torch.float32 else _by_product(wide, steps)
        return result.T if matrix_rc.shape[0] > matrix_rc.shape[1] else result


def _by_product(wide: Tensor, steps: int) -> Tensor:
    """As published: every iteration multiplies the whole matrix, whose rounding errors in bfloat16 stay its own."""
    for _ in range(steps):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=_B, alpha=_C), wide, beta=_A)
    return wide


def _by_gram(wide: Tensor, steps: int) -> Tensor:
    """The same polynomials of the square matrix X X^T alone, X multiplied once at the end.

    Half the work for the 1:4 matrices and 1:9 filters that networks are made of. The powers of X X^T need more
    digits than bfloat16 has.
    """
    gram = wide @ wide.T
    product: Tensor | None = None
    for step in range(steps):
        factor = torch.addmm(gram, gram, gram, beta=_B, alpha=_C)
        factor.diagonal().add_(_A)
        product = factor if product is None else factor @ product
        if step < steps - 1:
            gram = factor @ gram @ factor
    return wide if product is None else product @ wide
