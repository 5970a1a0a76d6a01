"""Test which parameters get weight decay, and which get Muon."""

import pytest
import torch
from torch import nn

from imgrec.optim.parameters import groups, muon_groups, muon_sgd_groups


@pytest.fixture
def module() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.GroupNorm(2, 4),
        nn.Linear(4, 5),
        nn.LayerNorm((2, 5)),
        nn.Linear(5, 2),
    )


def names(module: nn.Module, group: dict[str, object]) -> set[str]:
    known = {parameter: name for name, parameter in module.named_parameters()}
    return {known[parameter] for parameter in group["params"]}  # type: ignore[attr-defined]


def test_decay_reaches_everything_by_default(module: nn.Module) -> None:
    (only,) = groups(module, decay_norm_and_bias=True, weight_decay=0.1)
    assert only["weight_decay"] == 0.1
    assert only["params"] == list(module.parameters())


def test_norms_and_biases_can_be_spared(module: nn.Module) -> None:
    decayed, spared = groups(module, decay_norm_and_bias=False, weight_decay=0.1)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0)
    assert names(module, decayed) == {"0.weight", "3.weight", "5.weight"}
    assert names(module, spared) == {name for name, _ in module.named_parameters()} - names(module, decayed)


def test_frozen_parameters_are_left_out(module: nn.Module) -> None:
    module.requires_grad_(False)
    module[5].weight.requires_grad_(True)  # type: ignore[index]
    (only,) = groups(module, decay_norm_and_bias=False, weight_decay=0.1)
    assert names(module, only) == {"5.weight"}


def test_a_shared_parameter_is_updated_once(module: nn.Module) -> None:
    module.append(module[0])  # type: ignore[operator, index]
    (only,) = groups(module, decay_norm_and_bias=True, weight_decay=0)
    assert only["params"] == list(module.parameters())


def test_nothing_to_train_is_refused(module: nn.Module) -> None:
    module.requires_grad_(False)
    with pytest.raises(ValueError, match="every parameter of this network is frozen"):
        groups(module, decay_norm_and_bias=True, weight_decay=0)
    with pytest.raises(ValueError, match="every parameter of this network is frozen"):
        muon_groups(module, adamw_lr=0.1, decay_norm_and_bias=True, weight_decay=0)


def test_muon_takes_hidden_matrices_and_filters(module: nn.Module) -> None:
    hidden, decayed, spared = muon_groups(module, adamw_lr=0.3, decay_norm_and_bias=False, weight_decay=0.1)
    assert names(module, hidden) == {"0.weight", "3.weight"}
    assert names(module, decayed) == {"5.weight"}
    assert [group["rule"] for group in (hidden, decayed, spared)] == ["muon", "adamw", "adamw"]
    assert [group["weight_decay"] for group in (hidden, decayed, spared)] == [0.1, 0.1, 0]
    assert "lr" not in hidden
    assert decayed["lr"] == spared["lr"] == 0.3


def test_muon_may_find_only_a_head() -> None:
    head = nn.Linear(3, 2)
    (only,) = muon_groups(head, adamw_lr=0.3, decay_norm_and_bias=True, weight_decay=0)
    assert only["rule"] == "adamw"
    assert torch.equal(only["params"][0], head.weight)


@pytest.mark.parametrize("decay_norm_and_bias", [True, False])
def test_muon_beside_sgd_gives_the_last_layer_and_the_vectors_their_own_rates(
    module: nn.Module, decay_norm_and_bias: bool
) -> None:
    hidden, head, minor = muon_sgd_groups(
        module, bias_lr=10, head_lr=100, momentum=0.85, decay=0.02, decay_norm_and_bias=decay_norm_and_bias
    )
    assert names(module, hidden) == {"0.weight", "3.weight"}
    assert names(module, head) == {"5.weight"}
    assert names(module, minor) == {name for name, _ in module.named_parameters()} - {
        "0.weight",
        "3.weight",
        "5.weight",
    }
    assert [group["rule"] for group in (hidden, head, minor)] == ["muon", "sgd", "sgd"]
    # the penalty is times the rate: together they take away the same share of every parameter
    assert head["lr"] * head["weight_decay"] == pytest.approx(0.02)
    assert minor["lr"] * minor["weight_decay"] == pytest.approx(0.02 if decay_norm_and_bias else 0)
