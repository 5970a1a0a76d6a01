"""Test the Newton-Schulz iteration against the singular value decomposition."""

import pytest
import torch

from imgrec.cpu_features import sums_in_float32
from imgrec.optim.orthogonal import all_orthogonalized, orthogonalized, working_type

SHAPES = [(6, 6), (5, 20), (20, 5), (1, 4)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_singular_values_pass_through_the_polynomial(
    shape: tuple[int, int], dtype: torch.dtype, tolerance: float
) -> None:
    matrix = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    left, values, right = torch.linalg.svd(matrix / matrix.norm(), full_matrices=False)
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    found = orthogonalized(matrix, steps=5, dtype=dtype)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), left @ values.diag() @ right, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_singular_values_end_near_one(shape: tuple[int, int], dtype: torch.dtype) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonalized(matrix, steps=5, dtype=dtype).float())
    assert values.max() < 1.3
    assert values[0] > 0.6


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_several_matrices_are_each_as_alone(shape: tuple[int, int], dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    several = [torch.randn(shape, generator=generator) * 10**number for number in range(3)]
    several.append(torch.zeros(shape))
    alone = [orthogonalized(each, steps=5, dtype=dtype) for each in several]
    together = orthogonalized(torch.stack(several), steps=5, dtype=dtype)
    tolerance = 1e-3 if dtype == torch.float32 else 0.1
    torch.testing.assert_close(together, torch.stack(alone), atol=tolerance, rtol=tolerance)
    for one, other in zip(all_orthogonalized(several, steps=5, dtype=dtype), alone, strict=True):
        assert torch.equal(one, other), "a CPU takes one after the other"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_zeros_stay_zero(dtype: torch.dtype) -> None:
    assert not orthogonalized(torch.zeros(3, 5), steps=5, dtype=dtype).any()


def test_autocast_does_not_change_the_products() -> None:
    matrix = torch.randn(5, 20, generator=torch.Generator().manual_seed(2))
    plain = orthogonalized(matrix, steps=5, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(orthogonalized(matrix, steps=5, dtype=torch.float32), plain)


def test_bfloat16_is_for_gpus_and_cpus_that_multiply_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for native in (True, False):
        working_type.cache_clear()
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, found=native: found)
        assert working_type(torch.device("cuda")) == (torch.bfloat16 if native else torch.float32)
    assert working_type(torch.device("mps")) == torch.float32
    for capabilities, expected in (
        ({"amx_bf16": True}, torch.bfloat16),
        ({"amx_bf16": False, "avx512_bf16": True}, torch.bfloat16),
        ({"avx2": True}, torch.float32),
    ):
        working_type.cache_clear()
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=capabilities: found, raising=False)
        # whatever the CPU has, oneDNN may have been told not to use it
        assert working_type(torch.device("cpu")) == (expected if sums_in_float32() else torch.float32)
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    working_type.cache_clear()
    assert working_type(torch.device("cpu")) == torch.float32
