"""Test the plain convolutional network: its sizes, by the definition, and its options."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imgrec.components.model.cnn import Cnn
from imgrec.config.model import ACTIVATIONS, Model
from imgrec.errors import UsageError
from imgrec.models.build import build
from imgrec.models.network import Network

MEAN, STD = [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]


def network(cfg: Cnn, *, image_size: int = 32, channels: int = 3) -> Network:
    return build(
        cfg, num_classes=10, image_size=image_size, channels=channels, mean=MEAN[:channels], std=STD[:channels]
    )


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_default_has_the_parameters_of_its_definition() -> None:
    convolutions = (3 * 9 + 1) * 32 + (32 * 9 + 1) * 64 + (64 * 9 + 1) * 128
    linears = (128 * 4 * 4 + 1) * 512 + (512 + 1) * 10
    assert convolutions + linears == 1_147_466
    assert parameters(network(Cnn())) == 1_147_466


@pytest.mark.parametrize(("image_size", "channels"), [(8, 3), (24, 1), (64, 3)])
def test_sizes_follow_from_the_image(image_size: int, channels: int) -> None:
    net = network(Cnn(), image_size=image_size, channels=channels)
    assert net(torch.rand(2, channels, image_size, image_size)).shape == (2, 10)
    last = 128 * (image_size // 8) ** 2
    assert any(isinstance(layer, nn.Linear) and layer.in_features == last for layer in net.modules())


@pytest.mark.parametrize("image_size", [30, 4])
def test_an_image_that_cannot_be_halved_so_often_is_refused(image_size: int) -> None:
    with pytest.raises(UsageError) as refusal:
        network(Cnn(), image_size=image_size)
    assert str(refusal.value) == (
        f"model.widths with 3 stages needs images whose side is a multiple of 8, got {image_size} px; "
        "choose another image size or other model.widths"
    )


def test_depth_repeats_the_convolution_and_batch_norm_follows_each() -> None:
    net = network(Cnn(widths=[4, 6], depth=3, batch_norm=True), image_size=8)
    kinds = [type(layer).__name__ for layer in net.modules()]
    assert kinds.count("Conv2d") == kinds.count("BatchNorm2d") == 6
    filters = [(c.in_channels, c.out_channels) for c in net.modules() if isinstance(c, nn.Conv2d)]
    assert filters == [(3, 4), (4, 4), (4, 4), (4, 6), (6, 6), (6, 6)]
    assert all(c.bias is None for c in net.modules() if isinstance(c, nn.Conv2d))


def test_dropout_drops_hidden_units_in_training_alone() -> None:
    net = network(Cnn(widths=[4], hidden=64, dropout=0.5), image_size=4)
    images = torch.rand(4, 3, 4, 4)
    assert not torch.equal(net(images), net(images))
    net.eval()
    assert torch.equal(net(images), net(images))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_network_is_convolution_activation_pooling(activation: str, batch_norm: bool) -> None:
    """Values and gradients are those of the definition, whatever the order of computation."""
    torch.manual_seed(0)
    net = network(Cnn(widths=[4, 6], hidden=5, activation=activation, batch_norm=batch_norm), image_size=8).double()
    images = torch.rand(3, 3, 8, 8, dtype=torch.float64)

    def definition(values: Tensor) -> Tensor:
        function = getattr(F, activation)
        values = (values - 0.5) / 0.25
        convolutions = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
        norms = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
        hidden, classes = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
        for index, convolution in enumerate(convolutions):
            values = convolution(values)
            if batch_norm:
                values = norms[index](values)
            values = F.max_pool2d(function(values), 2)
        return F.linear(function(F.linear(values.flatten(1), hidden.weight, hidden.bias)), classes.weight, classes.bias)

    expected, found = definition(images), net(images)
    torch.testing.assert_close(found, expected)
    weights = list(net.parameters())
    for ours, theirs in zip(
        torch.autograd.grad(found.square().sum(), weights),
        torch.autograd.grad(expected.square().sum(), weights),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_a_configuration_without_a_network_is_refused() -> None:
    with pytest.raises(TypeError, match="abstract class Model"):
        build(Model(name="nothing"), num_classes=2, image_size=8, channels=3, mean=MEAN, std=STD)
