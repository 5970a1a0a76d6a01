"""Test Muon against PyTorch's Muon for matrices, and against PyTorch's AdamW for other parameters."""

import copy
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from imgrec.optim import orthogonal
from imgrec.optim.muon import Muon


@pytest.fixture(autouse=True)
def as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16 products on any CPU, as in PyTorch's Muon."""
    monkeypatch.setattr(orthogonal, "working_type", lambda device: torch.bfloat16)


def group(parameters: Iterable[Tensor], *, rule: str, **options: Any) -> dict[str, Any]:
    return {"params": list(parameters), "rule": rule, **options}


def set_gradients(parameters: Iterable[Tensor], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("shape", [(8, 8), (4, 16), (16, 4)])
def test_matrices_move_as_in_pytorchs_muon(shape: tuple[int, int]) -> None:
    ours = nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    theirs = copy.deepcopy(ours)
    options = {"lr": 0.02, "momentum": 0.95, "weight_decay": 0.1, "ns_steps": 5}
    mine = Muon([group([ours], rule="muon")], **options)  # type: ignore[arg-type]
    reference = torch.optim.Muon([theirs], nesterov=True, adjust_lr_fn="original", **options)  # type: ignore[arg-type]
    for step in range(5):
        for parameter, optimizer in ((ours, mine), (theirs, reference)):
            set_gradients([parameter], seed=step)
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_filter_moves_as_the_matrix_of_its_rows(memory_format: torch.memory_format) -> None:
    weights = torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    matrix = nn.Parameter(weights.flatten(1).clone())
    filters = nn.Parameter(weights.clone(memory_format=memory_format))
    optimizer = Muon([group([matrix, filters], rule="muon")], lr=0.1, weight_decay=0.1)
    for step in range(3):
        set_gradients([filters], seed=step)
        assert filters.grad is not None
        matrix.grad = filters.grad.flatten(1).clone()
        filters.grad = filters.grad.to(memory_format=memory_format)
        optimizer.step()
    assert torch.equal(filters.flatten(1), matrix)


ADAMW: dict[str, Any] = {"lr": 0.01, "weight_decay": 0.1, "betas": (0.8, 0.9), "eps": 1e-6}
SGD: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.1, "momentum": 0.8}


@pytest.mark.parametrize(
    ("rule", "options", "theirs"),
    [
        ("adamw", ADAMW, partial(torch.optim.AdamW, fused=True, **ADAMW)),
        ("sgd", SGD, partial(torch.optim.SGD, nesterov=True, fused=True, **SGD)),
    ],
)
def test_the_rest_moves_as_in_pytorchs_own(
    rule: str, options: dict[str, Any], theirs: Callable[..., torch.optim.Optimizer]
) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4, 3)
    same = copy.deepcopy(layer)
    mine = Muon([group(layer.parameters(), rule=rule, **options)], lr=1)
    reference = theirs(same.parameters())
    for step in range(5):
        for each, optimizer in ((layer, mine), (same, reference)):
            set_gradients(each.parameters(), seed=step)
            optimizer.step()
    assert torch.equal(layer.weight, same.weight)
    assert torch.equal(layer.bias, same.bias)


def test_constant_norm_holds_before_each_step() -> None:
    filters = nn.Parameter(torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(0)) * 7)
    plain = nn.Parameter((filters * 8**0.5 / filters.norm()).detach())
    ours = Muon([group([filters], rule="muon", constant_norm=True)], lr=0.1)
    reference = Muon([group([plain], rule="muon")], lr=0.1)
    for parameter, optimizer in ((filters, ours), (plain, reference)):
        set_gradients([parameter], seed=0)
        optimizer.step()
    torch.testing.assert_close(filters, plain)


def test_parameters_without_a_gradient_stay() -> None:
    moved, still = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    bias = nn.Parameter(torch.ones(2))
    optimizer = Muon([group([moved, still], rule="muon"), group([bias], rule="adamw")], lr=0.1)
    set_gradients([moved], seed=0)
    optimizer.step()
    assert not torch.equal(moved, torch.ones(2, 2))
    assert torch.equal(still, torch.ones(2, 2))
    assert torch.equal(bias, torch.ones(2))


def test_the_closure_is_evaluated_with_gradients() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    optimizer = Muon([group([weight], rule="muon")], lr=0.1)

    def closure() -> float:
        loss = weight.square().sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 4
    assert not torch.equal(weight, torch.ones(2, 2))


def test_vectors_and_undeclared_groups_are_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 2 dimensions, got \(3,\); give another rule"):
        Muon([group([nn.Parameter(torch.ones(3))], rule="muon")], lr=0.1)
    with pytest.raises(ValueError, match="must give its rule, one of muon, adamw, sgd"):
        Muon([{"params": [nn.Parameter(torch.ones(3, 3))]}], lr=0.1)
