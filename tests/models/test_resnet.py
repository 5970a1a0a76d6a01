"""Test residual networks: stems and frozen backbones."""

import pytest
import torch
import torchvision
from torch import nn

from imgrec.components.model.resnet import Resnet
from imgrec.components.model.resnet18 import Resnet18
from imgrec.components.model.resnet50 import Resnet50
from imgrec.models.build import build
from imgrec.models.network import Network

MEAN, STD = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)


def network(cfg: Resnet, *, channels: int = 3, fetch: bool = True) -> Network:
    return build(
        cfg, num_classes=10, image_size=8, channels=channels, mean=MEAN[:channels], std=STD[:channels], fetch=fetch
    )


def first_convolution(net: nn.Module) -> nn.Conv2d:
    return next(layer for layer in net.modules() if isinstance(layer, nn.Conv2d))


def test_the_cifar_stem_keeps_the_image_size() -> None:
    net = network(Resnet18())
    stem = first_convolution(net)
    assert (stem.kernel_size, stem.stride, stem.padding) == ((3, 3), (1, 1), (1, 1))
    assert not any(isinstance(layer, nn.MaxPool2d) for layer in net.modules())
    # torchvision's 11 689 512 with 1000 classes, less 513 * 990, less the 7x7 stem for the 3x3
    assert sum(p.numel() for p in net.parameters()) == 11_689_512 - 513 * 990 - 64 * 3 * (49 - 9)
    assert net(torch.rand(2, 3, 8, 8)).shape == (2, 10)


def test_the_imagenet_stem_is_torchvisions() -> None:
    torch.manual_seed(0)
    ours = network(Resnet50(stem="imagenet")).eval()
    theirs = torchvision.models.resnet50(num_classes=10).eval()
    weights = dict(zip(theirs.state_dict(), list(ours.net.state_dict().values()), strict=True))
    theirs.load_state_dict(weights)
    images = torch.rand(1, 3, 32, 32)
    normalised = (images - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    torch.testing.assert_close(ours(images), theirs(normalised))


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_the_stem_takes_the_images_channels(stem: str) -> None:
    assert network(Resnet18(stem=stem), channels=1)(torch.rand(2, 1, 8, 8)).shape == (2, 10)


def test_a_frozen_backbone_keeps_weights_and_statistics() -> None:
    net = network(Resnet18(freeze_backbone=True)).train()
    training = {name for name, parameter in net.named_parameters() if parameter.requires_grad}
    assert training == {"net.classes.weight", "net.classes.bias"}
    before = {name: value.clone() for name, value in net.state_dict().items()}
    images = torch.rand(4, 3, 8, 8, requires_grad=True)
    net(images).sum().backward()
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert images.grad is not None  # attacks still see through it
    assert images.grad.abs().sum() > 0


def test_an_unfrozen_backbone_trains() -> None:
    net = network(Resnet18()).eval().train()
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert all(layer.training for layer in net.modules())
