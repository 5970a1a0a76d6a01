"""Test rates by layers: against their definition, and against timm's groups."""

import pytest
import torch

from imgrec.assembly import _optimizer
from imgrec.config.compose import compose
from imgrec.config.registry import components
from imgrec.models import parts
from imgrec.models.build import build
from imgrec.models.network import Network
from imgrec.optim.schedules import build_schedule


def made(*words: str) -> tuple[Network, torch.optim.Optimizer]:
    config = compose(["data=digits", *words])
    network = build(config.model, num_classes=10, image_size=32, channels=3, mean=[0.0] * 3, std=[1.0] * 3, fetch=False)
    return network, _optimizer(config, network, parts.frozen_in(config.model, network))


def rates(network: Network, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    names = {parameter: name for name, parameter in network.named_parameters()}
    return {names[each]: group["lr"] for group in optimizer.param_groups for each in group["params"]}


CNN = {  # by the layer's place before the head
    "net.stages.0.0": 4,
    "net.stages.1.0": 3,
    "net.stages.2.0": 2,
    "net.hidden.1": 1,
    "net.classes": 0,
}


@pytest.mark.parametrize("optimizer", sorted(components("optimizer")))
def test_every_optimizer_multiplies_its_rates_by_the_layer_and_the_head(optimizer: str) -> None:
    choice = f"optimizer={optimizer}"
    constant = "schedule=constant"
    plain = rates(*made(choice, constant))
    scaled = rates(*made(choice, constant, "optimizer.layer_decay=0.5", "optimizer.head_scale=10"))
    assert scaled.keys() == plain.keys()
    for name, rate in scaled.items():
        before_head = CNN[name.rpartition(".")[0]]
        assert rate == pytest.approx(plain[name] * 0.5**before_head * (10 if before_head == 0 else 1)), name


@pytest.mark.long
def test_rates_are_those_of_timm_s_groups() -> None:
    timm_optim = pytest.importorskip("timm.optim")
    network, optimizer = made(
        "model=timm", "model.architecture=vit_tiny_patch16_224", "optimizer=adamw", "optimizer.layer_decay=0.65",
        "optimizer.lr=1",
    )  # fmt: skip
    net = network.net
    groups = timm_optim.param_groups_layer_decay(net, layer_decay=0.65)
    theirs = {parameter: group["lr_scale"] for group in groups for parameter in group["params"]}
    names = dict(network.named_parameters())
    ours = rates(network, optimizer)
    assert len(set(ours.values())) == 14
    for name, rate in ours.items():
        assert rate == pytest.approx(theirs[names[name]]), name


def test_a_schedule_multiplies_all_rates() -> None:
    network, optimizer = made("optimizer=sgd", "optimizer.lr=0.1", "optimizer.layer_decay=0.5")
    before = rates(network, optimizer)
    schedule = build_schedule(compose(["data=digits", "schedule=linear"]).schedule, optimizer, 10)
    for _ in range(5):
        optimizer.step()
        schedule.step()
    for name, rate in rates(network, optimizer).items():
        assert rate == pytest.approx(0.5 * before[name], rel=0.2)


def test_a_step_is_as_long_as_its_rate() -> None:
    torch.manual_seed(0)
    network, optimizer = made("optimizer=sgd", "optimizer.lr=1", "optimizer.layer_decay=0.5", "optimizer.head_scale=3")
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    network(torch.rand(4, 3, 32, 32)).square().sum().backward()
    optimizer.step()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        scale = 0.5 ** CNN[name.rpartition(".")[0]] * (3 if "classes" in name else 1)
        torch.testing.assert_close(before[name] - parameter.detach(), scale * parameter.grad, rtol=1e-4, atol=1e-6)


def test_without_factors_an_optimizer_s_groups_are_its_own() -> None:
    _, optimizer = made("optimizer=muon")
    assert not any("lr_scale" in group for group in optimizer.param_groups)
