"""Test that configured optimizers have the right formula, and resume with the same bits."""

import io
from typing import Any

import pytest
import timm.optim
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imgrec.components.optimizer.adafactor import Adafactor
from imgrec.components.optimizer.adagrad import Adagrad
from imgrec.components.optimizer.adam import Adam
from imgrec.components.optimizer.adamax import Adamax
from imgrec.components.optimizer.adamw import AdamW
from imgrec.components.optimizer.lamb import Lamb
from imgrec.components.optimizer.lion import Lion
from imgrec.components.optimizer.momentum import Momentum
from imgrec.components.optimizer.muon import Muon
from imgrec.components.optimizer.muon_sgd import MuonSgd
from imgrec.components.optimizer.nadam import NAdam
from imgrec.components.optimizer.radam import RAdam
from imgrec.components.optimizer.rmsprop import RmsProp
from imgrec.components.optimizer.schedule_free import ScheduleFree
from imgrec.components.optimizer.sgd import Sgd
from imgrec.config import optimizer as config
from imgrec.errors import UsageError
from imgrec.optim.build import build_optimizer

CONFIGS = [
    Sgd(weight_decay=0.01),
    Momentum(),
    Momentum(nesterov=True, decay_norm_and_bias=False),
    Adam(weight_decay=0.01),
    AdamW(),
    Adagrad(),
    RmsProp(momentum=0.5),
    Muon(weight_decay=0.01, decay_norm_and_bias=False),
    Muon(constant_norm=True, lr=0.1),
    MuonSgd(bias_lr=1, head_lr=2),
    Adamax(),
    NAdam(weight_decay=0.01),
    RAdam(weight_decay=0.01),
    Adafactor(weight_decay=0.01),
    Lion(weight_decay=0.1),
    Lamb(decay_norm_and_bias=False),
    ScheduleFree(weight_decay=0.1),
]
every_optimizer = pytest.mark.parametrize("cfg", CONFIGS, ids=repr)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(64, 5)
    )


def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: range, *, autocast: bool = False) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        images, classes = torch.rand(4, 3, 8, 8, generator=generator), torch.randint(5, (4,), generator=generator)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = F.cross_entropy(net(images), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def step(net: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    """One update with drawn gradients, each in its weight's layout (autograd's contract)."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        parameter.grad = torch.empty_like(parameter).copy_(torch.randn(parameter.shape, generator=generator))
    optimizer.step()


def saved(*states: dict[str, Any]) -> Any:
    """What a checkpoint gives back: tensors and plain containers only."""
    file = io.BytesIO()
    torch.save(states, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def assert_equal(ours: nn.Module, theirs: nn.Module) -> None:
    for (name, mine), other in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        assert torch.equal(mine, other), name


REFERENCES: list[tuple[config.Optimizer, type[torch.optim.Optimizer], dict[str, Any]]] = [
    (Sgd(lr=0.3, lr_scale=0.5), torch.optim.SGD, {"lr": 0.15}),
    (
        Momentum(momentum=0.8, nesterov=True, weight_decay=0.1),
        torch.optim.SGD,
        {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
    ),
    (Adam(beta1=0.8, beta2=0.9, eps=1e-4), torch.optim.Adam, {"lr": 1e-3, "betas": (0.8, 0.9), "eps": 1e-4}),
    (AdamW(lr_scale=2), torch.optim.AdamW, {"lr": 2e-3, "weight_decay": 0.01}),
    (Adagrad(eps=1e-3), torch.optim.Adagrad, {"lr": 0.01, "eps": 1e-3}),
    (RmsProp(alpha=0.8, momentum=0.5), torch.optim.RMSprop, {"lr": 1e-3, "alpha": 0.8, "momentum": 0.5}),
    (Adamax(beta2=0.9), torch.optim.Adamax, {"lr": 2e-3, "betas": (0.9, 0.9)}),
    (NAdam(momentum_decay=0.1), torch.optim.NAdam, {"lr": 2e-3, "momentum_decay": 0.1}),
    (RAdam(lr_scale=3, weight_decay=0.1), torch.optim.RAdam, {"lr": 3e-3, "weight_decay": 0.1}),
    (
        Adafactor(beta2_decay=-0.5, least_scale=0.1, clip_threshold=2),
        torch.optim.Adafactor,
        {"lr": 0.01, "beta2_decay": -0.5, "eps": (None, 0.1), "d": 2},
    ),
    (Lion(beta1=0.8, weight_decay=0.1), timm.optim.Lion, {"lr": 1e-4, "betas": (0.8, 0.99), "weight_decay": 0.1}),
    (Lamb(max_grad_norm=0), timm.optim.Lamb, {"lr": 1e-3, "weight_decay": 0.01, "max_grad_norm": None}),
]


@pytest.mark.parametrize(("cfg", "kind", "options"), REFERENCES, ids=lambda value: getattr(value, "name", None))
def test_each_choice_is_pytorchs(
    cfg: config.Optimizer, kind: type[torch.optim.Optimizer], options: dict[str, Any]
) -> None:
    ours, theirs = network(), network()
    optimizer = build_optimizer(cfg, ours)
    reference = kind(theirs.parameters(), foreach=False, **options)  # type: ignore[call-arg]
    for seed in range(5):
        step(ours, optimizer, seed)
        step(theirs, reference, seed)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


def test_lr_scale_reaches_both_rates_of_muon() -> None:
    optimizer = build_optimizer(Muon(lr=0.02, adamw_lr=0.001, lr_scale=10), network())
    assert [(group["rule"], group["lr"]) for group in optimizer.param_groups] == [
        ("muon", pytest.approx(0.2)),
        ("adamw", pytest.approx(0.01)),
    ]


def test_lr_scale_reaches_every_rate_of_muon_beside_sgd() -> None:
    cfg = MuonSgd(lr=0.2, bias_lr=3, head_lr=5, lr_scale=10)
    optimizer = build_optimizer(cfg, network())
    assert {(group["rule"], round(group["lr"], 6)) for group in optimizer.param_groups} == {
        ("muon", 2.0),
        ("sgd", 50.0),
        ("sgd", 30.0),
    }


@every_optimizer
@pytest.mark.parametrize("autocast", [False, True])
def test_each_choice_learns(cfg: config.Optimizer, autocast: bool) -> None:
    net = network()
    before = [parameter.detach().clone() for parameter in net.parameters()]
    train(net, build_optimizer(cfg, net), range(3), autocast=autocast)
    for old, new in zip(before, net.parameters(), strict=True):
        assert new.dtype == torch.float32
        assert new.isfinite().all()
        assert not torch.equal(old, new)


@every_optimizer
def test_a_resumed_run_goes_on_bit_for_bit(cfg: config.Optimizer) -> None:
    straight = network()
    train(straight, build_optimizer(cfg, straight), range(6))

    first = network()
    optimizer = build_optimizer(cfg, first)
    train(first, optimizer, range(3))
    weights, state = saved(first.state_dict(), optimizer.state_dict())
    second = network()
    resumed = build_optimizer(cfg, second)
    second.load_state_dict(weights)
    resumed.load_state_dict(state)
    train(second, resumed, range(3, 6))
    assert_equal(second, straight)


@every_optimizer
@pytest.mark.parametrize("when", ["after building", "before loading"])
def test_a_change_of_memory_format_changes_no_update(cfg: config.Optimizer, when: str) -> None:
    """Fused kernels go through memory in order, and would apply moments of another layout to the wrong elements."""

    def updated(memory_format: torch.memory_format) -> list[Tensor]:
        net = network()
        optimizer = build_optimizer(cfg, net)
        if when == "after building":
            net.to(memory_format=memory_format)
        step(net, optimizer, seed=1)
        (state,) = saved(optimizer.state_dict())
        if when == "before loading":
            net.to(memory_format=memory_format)
        else:
            optimizer = build_optimizer(cfg, net)
        optimizer.load_state_dict(state)
        step(net, optimizer, seed=3)
        return [parameter.detach() for parameter in net.parameters()]

    for plain, channels_last in zip(updated(torch.contiguous_format), updated(torch.channels_last), strict=True):
        torch.testing.assert_close(channels_last, plain, rtol=1e-5, atol=1e-6)


def test_a_loaded_state_keeps_the_present_hyperparameters() -> None:
    net = network()
    old = build_optimizer(AdamW(weight_decay=0.1, beta1=0.5), net)
    train(net, old, range(1))
    new = build_optimizer(AdamW(weight_decay=0.2, lr=0.5), net)
    new.load_state_dict(old.state_dict())
    (group,) = new.param_groups
    assert (group["weight_decay"], group["betas"], group["lr"]) == (0.2, (0.9, 0.999), 0.5)
    weight = next(net.parameters())
    assert torch.equal(new.state[weight]["exp_avg"], old.state[weight]["exp_avg"])


def test_past_gradients_do_not_outlive_a_momentum_of_0() -> None:
    net = network()
    with_past = build_optimizer(Momentum(), net)
    train(net, with_past, range(2))
    without = build_optimizer(Momentum(momentum=0), net)
    without.load_state_dict(with_past.state_dict())
    train(net, without, range(2, 3))
    again = build_optimizer(Momentum(), net)
    again.load_state_dict(without.state_dict())
    assert not any(state.get("momentum_buffer") is not None for state in again.state.values())


def test_a_state_of_other_groups_is_refused() -> None:
    net = network()
    one = build_optimizer(AdamW(), net)
    two = build_optimizer(AdamW(decay_norm_and_bias=False), net)
    with pytest.raises(ValueError, match="different number of parameter groups"):
        one.load_state_dict(two.state_dict())


def test_lightning_may_clip_under_mixed_precision() -> None:
    """Lightning refuses optimizers that claim to unscale gradients themselves, as fused ones do."""
    from lightning.pytorch.plugins.precision import MixedPrecision

    net = network()
    optimizer = build_optimizer(AdamW(), net)
    train(net, optimizer, range(1))
    MixedPrecision("bf16-mixed", "cpu").clip_gradients(optimizer, clip_val=1e-3)
    norms = [parameter.grad.norm() for parameter in net.parameters() if parameter.grad is not None]
    assert torch.stack(norms).norm() <= 1.001e-3


def test_a_configuration_without_an_optimizer_is_refused() -> None:
    with pytest.raises(TypeError, match="abstract class Optimizer"):
        build_optimizer(config.Optimizer(name="nothing", lr=1.0), network())


class Slower(torch.optim.SGD):
    """SGD whose rate falls with a count of steps, which it keeps in its groups as D-Adaptation and Prodigy do."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for group in self.param_groups:
            group["k"] = 0

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            group["k"] += 1
            for parameter in group["params"]:
                parameter.grad.div_(group["k"])
        return super().step(closure)


class Undeclared(config.Optimizer):
    lr: float = 0.1

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        return Slower(module.parameters(), lr=self.peak)


class Declared(Undeclared):
    counters = ("k",)


def test_what_an_optimizer_counts_in_its_groups_is_declared_and_goes_on_in_a_resumed_run() -> None:
    net = network()
    with pytest.raises(UsageError, match=r"Slower changes 'k', which a resumed run .*: counters = \('k',\)"):
        train(net, build_optimizer(Undeclared(name="undeclared", lr=0.1), net), range(1))
    cfg = Declared(name="declared", lr=0.1)
    straight, cut, resumed = network(), network(), network()
    train(straight, build_optimizer(cfg, straight), range(6))
    first = build_optimizer(cfg, cut)
    train(cut, first, range(3))
    weights, state = saved(cut.state_dict(), first.state_dict())
    second = build_optimizer(cfg, resumed)
    resumed.load_state_dict(weights)
    second.load_state_dict(state)
    assert second.param_groups[0]["k"] == 3
    train(resumed, second, range(3, 6))
    assert_equal(resumed, straight)


def test_a_rate_that_is_set_while_the_gradient_is_computed_is_no_count_of_the_optimizer() -> None:
    """Callbacks set it in Lightning's `on_before_optimizer_step`, which is called in the closure."""
    net = network()
    optimizer = build_optimizer(Sgd(lr=0.1), net)

    def closure() -> Tensor:
        optimizer.param_groups[0]["lr"] = 0.5
        loss = net(torch.ones(1, 3, 8, 8)).square().sum()
        loss.backward()
        return loss.detach()

    before = net[5].bias.detach().clone()  # type: ignore[union-attr]
    assert optimizer.step(closure) is not None
    gradient = net[5].bias.grad  # type: ignore[union-attr]
    torch.testing.assert_close(net[5].bias.detach(), before - 0.5 * gradient)  # type: ignore[union-attr, operator]
