"""Test steps in float16 on a CPU: the same as PyTorch's own scaler makes, without a value read from the device."""

import copy

import lightning
import pytest
import torch
from reads_back import ReadsBack
from torch import Tensor, nn
from torch.optim import Optimizer

from imgrec.optim.fused import prepared
from imgrec.training.loss_scaling import Scaler, plugin

OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True, fused=True),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.1, fused=True),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.1, fused=True),
}


def step(network: nn.Module, optimizer: Optimizer, scaler: torch.amp.GradScaler, images: Tensor) -> None:
    """Make one step as Lightning does: gradients are unscaled, clipped, and applied if they are finite."""
    optimizer.zero_grad()
    scaler.scale(network(images).square().mean()).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_are_those_of_pytorchs_scaler_and_the_bad_one_is_left_out(name: str) -> None:
    torch.manual_seed(0)
    ours = nn.Linear(4, 3)
    theirs = copy.deepcopy(ours)
    batches = [torch.randn(5, 4) for _ in range(4)]
    batches[2][0, 0] = float("inf")
    found = []
    for network, scaler in ((ours, Scaler(device="cpu")), (theirs, torch.amp.GradScaler(device="cpu"))):
        optimizer = prepared(OPTIMIZERS[name](network.parameters()))
        weights = []
        for images in batches:
            step(network, optimizer, scaler, images)
            weights.append(network.weight.detach().clone())
        found.append((weights, scaler.get_scale()))
    assert all(torch.equal(one, other) for one, other in zip(found[0][0], found[1][0], strict=True))
    assert found[0][1] == found[1][1]
    assert torch.equal(found[0][0][1], found[0][0][2]), "the third step is left out"
    assert not torch.equal(found[0][0][2], found[0][0][3])


def test_a_step_reads_nothing_back_from_the_device() -> None:
    network = nn.Linear(4, 3)
    counts = []
    for scaler in (Scaler(device="cpu"), torch.amp.GradScaler(device="cpu")):
        optimizer = prepared(OPTIMIZERS["sgd"](network.parameters()))
        step(network, optimizer, scaler, torch.randn(5, 4))
        with ReadsBack() as reads:
            step(network, optimizer, scaler, torch.randn(5, 4))
        counts.append(reads.count)
    assert counts == [0, 1]


@pytest.mark.filterwarnings("ignore:.*srun")
def test_lightning_trains_with_it() -> None:
    trainer = lightning.Trainer(accelerator="cpu", plugins=[plugin("cpu")], logger=False, enable_checkpointing=False)
    assert trainer.precision == "16-mixed"
    assert isinstance(trainer.precision_plugin.scaler, Scaler)
