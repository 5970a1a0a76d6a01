"""Orthogonalise a matrix by Newton-Schulz iteration: same singular vectors, singular values near 1."""

# R rows, C columns

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from imgrec.cpu_features import has_bfloat16

# Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks" (kellerjordan.github.io/posts/muon): x
# -> a x + b x^3 + c x^5 with the steepest slope at 0 that keeps [0, 1] bounded. Singular values end in about [0.7,
# 1.2], not at 1, which does not harm training and saves iterations.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_EPS = 1e-7  # the same source; avoids a division by zero for a matrix of zeros


@functools.cache
def working_type(device: torch.device) -> torch.dtype:
    """Return bfloat16, as published, on GPUs and CPUs with native bfloat16 products, and float32 on all others.

    Emulated bfloat16 products are slower than float32. For a step of ResNet-50 an AMD EPYC with AVX512-BF16 takes 0.40
    s in bfloat16 and 0.52 s in float32; with AMX 512 x 2048 takes a fifth of the time.
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and has_bfloat16()
    return torch.bfloat16 if native else torch.float32


def all_orthogonalized(matrices_rc: Sequence[Tensor], *, steps: int, dtype: torch.dtype) -> list[Tensor]:
    """Return `orthogonalized` of each of several matrices of one shape, on one device.

    On a GPU they are multiplied together, as each is small and each product would be a kernel of its own. One core of
    a CPU takes up to a third longer for that, and the matrices follow one another.
    """
    if len(matrices_rc) == 1 or matrices_rc[0].device.type == "cpu":
        return [orthogonalized(each, steps=steps, dtype=dtype) for each in matrices_rc]
    return list(orthogonalized(torch.stack(list(matrices_rc)), steps=steps, dtype=dtype).unbind())


def orthogonalized(matrices_rc: Tensor, *, steps: int, dtype: torch.dtype) -> Tensor:
    """Return U p(S) V^T for a matrix U S V^T, with S scaled to Frobenius norm 1.

    p is the polynomial, applied `steps` times. Autocast is disabled inside, as it would choose other types.

    Args:
        matrices_rc: The matrix (R, C), or several (N, R, C).
        steps: >= 1.
        dtype: The type of all products.

    Returns:
        The same shape in `dtype`; a matrix of zeros stays zero.
    """
    with torch.autocast(matrices_rc.device.type, enabled=False):
        wide = matrices_rc.to(dtype)
        tall = wide.shape[-2] > wide.shape[-1]
        if tall:  # the products below have the size of the shorter side
            wide = wide.mT
        norm = wide.norm() if wide.ndim == 2 else torch.linalg.vector_norm(wide, dim=(-2, -1), keepdim=True)
        wide = wide / norm.clamp(min=_EPS)
        result = _by_gram(wide, steps) if dtype == torch.float32 else _by_product(wide, steps)
        return result.mT if tall else result


def _by_product(wide: Tensor, steps: int) -> Tensor:
    """Iterate as published: every iteration multiplies the whole matrix.

    So rounding errors in bfloat16 do not accumulate.
    """
    add = _product_and_sum(wide)
    for _ in range(steps):
        gram = wide @ wide.mT
        wide = add(wide, add(gram, gram, gram, beta=_B, alpha=_C), wide, beta=_A)
    return wide


def _by_gram(wide: Tensor, steps: int) -> Tensor:
    """Apply the same polynomials to the square matrix X X^T, and multiply by X once at the end.

    This is half the work for the 1:4 matrices and 1:9 filters that are common in networks. The powers of X X^T need
    more digits than bfloat16 has.
    """
    add = _product_and_sum(wide)
    gram = wide @ wide.mT
    product: Tensor | None = None
    for step in range(steps):
        factor = add(gram, gram, gram, beta=_B, alpha=_C)
        factor.diagonal(dim1=-2, dim2=-1).add_(_A)
        product = factor if product is None else factor @ product
        if step < steps - 1:
            gram = factor @ gram @ factor
    return wide if product is None else product @ wide


def _product_and_sum(matrices: Tensor) -> Callable[..., Tensor]:
    """Return the kernel that adds a product of two matrices to a third one, for one matrix or several."""
    return torch.addmm if matrices.ndim == 2 else torch.baddbmm
