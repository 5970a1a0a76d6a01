"""Test the whitened network: fixed filters from data, identity at the start, sizes by its definition."""

import pytest
import torch
from torch import Tensor, nn

from imgrec.components.model.whitened_cnn import WhitenedCnn as Cfg
from imgrec.models.build import build
from imgrec.models.network import Network
from imgrec.models.whitened import WhitenedCnn

MEAN, STD = [0.5, 0.4, 0.3], [0.25, 0.2, 0.3]


def network(cfg: Cfg, *, image_size: int = 32, channels: int = 3) -> Network:
    return build(
        cfg, num_classes=10, image_size=image_size, channels=channels, mean=MEAN[:channels], std=STD[:channels]
    )


def inner(network: Network) -> WhitenedCnn:
    assert isinstance(network.net, WhitenedCnn)
    return network.net


def photos(count: int, side: int = 32) -> Tensor:
    """Images whose neighbouring pixels and channels go together, as photographs' do."""
    generator = torch.Generator().manual_seed(0)
    grey = torch.rand(count, 1, side, side, generator=generator)
    smooth = nn.functional.avg_pool2d(grey, 5, stride=1, padding=2)
    return (smooth + 0.1 * torch.rand(count, 3, side, side, generator=generator)).clamp(0, 1)


def test_the_default_is_the_published_network() -> None:
    """Jordan 2024: 24 whitening filters, 64-256-256. Only the first layer's bias is trained there and fixed here."""
    convolutions = 9 * (24 * 64 + 64 * 64 + 64 * 256 + 256 * 256 + 256 * 256 + 256 * 256)
    norm_biases, head = 2 * (64 + 256 + 256), 256 * 10
    trainable = sum(p.numel() for p in network(Cfg()).parameters() if p.requires_grad)
    assert trainable == convolutions + norm_biases + head


@pytest.mark.parametrize(("image_size", "channels"), [(32, 3), (9, 1), (64, 3), (24, 3)])
def test_any_image_gives_logits(image_size: int, channels: int) -> None:
    net = network(Cfg(widths=[8, 16, 16]), image_size=image_size, channels=channels)
    assert net(torch.rand(4, channels, image_size, image_size)).shape == (4, 10)


def test_whitened_patches_are_uncorrelated_and_of_variance_one() -> None:
    net = network(Cfg())
    images = photos(400)
    assert net.begins_from_data
    net.initialise(images)
    normalised = (images - net.mean) / net.std
    whiten = inner(net).whiten
    values = nn.functional.conv2d(normalised, whiten.weight)[:, :12]
    flat = values.permute(0, 2, 3, 1).flatten(0, 2).double()
    moments = flat.T @ flat / len(flat)
    directions = torch.linalg.eigvalsh(moments)
    # the variance that 5e-4 was added to: directions far above it come out at 1, in none more than that
    assert directions.max().item() == pytest.approx(1, abs=1e-2)
    off_diagonal = moments - moments.diag().diag()
    assert off_diagonal.abs().max().item() < 1e-3


def test_patches_are_counted_a_few_images_at_a_time() -> None:
    net, images = network(Cfg()), photos(250)  # more than are held at once, and no multiple of it
    net.initialise(images)
    patches = ((images - net.mean) / net.std).unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
    variances, vectors = torch.linalg.eigh(patches.double().T @ patches.double() / len(patches))
    expected = (vectors / (variances + 5e-4).sqrt()).T.reshape(12, 3, 2, 2).float()
    filters = inner(net).whiten.weight[:12]
    sign = (filters * expected).sum((1, 2, 3)).sign()[:, None, None, None]  # an eigenvector's sign is anyone's choice
    assert torch.allclose(filters, sign * expected, rtol=1e-3, atol=1e-4)


def test_every_filter_comes_with_both_signs_and_does_not_train() -> None:
    net = network(Cfg())
    net.initialise(photos(50))
    weight = inner(net).whiten.weight
    assert torch.equal(weight[:12], -weight[12:])
    assert not weight.requires_grad
    bias = inner(net).whiten.bias
    assert bias is not None
    assert not bias.requires_grad
    assert 0 < bias.abs().max() <= 12**-0.5


def test_convolutions_begin_by_handing_their_inputs_on() -> None:
    stages = inner(network(Cfg(widths=[8, 40]))).stages
    values = torch.randn(2, 24, 6, 6)
    first = stages[0].first(values)
    assert torch.equal(first, values[:, :8])
    wider = stages[1].first(first)
    assert torch.equal(wider[:, :8], first)
    assert wider[:, 8:].abs().sum() > 0


def test_a_stage_is_convolution_pool_norm_activation_then_more_of_them() -> None:
    torch.manual_seed(0)
    net = network(Cfg(widths=[6], depth=3, residual=True), image_size=8).double()
    stage = inner(net).stages[0]
    images = torch.rand(5, 3, 8, 8, dtype=torch.float64)

    def norm(values: Tensor, layer: nn.BatchNorm2d) -> Tensor:
        mean, var = values.mean((0, 2, 3), keepdim=True), values.var((0, 2, 3), unbiased=False, keepdim=True)
        return (values - mean) / (var + 1e-12).sqrt() + layer.bias[None, :, None, None]

    conv, act = nn.functional.conv2d, nn.functional.gelu
    values = (images - net.mean) / net.std
    values = act(conv(values, inner(net).whiten.weight, inner(net).whiten.bias))
    values = nn.functional.max_pool2d(conv(values, stage.first.weight, padding=1), 2)
    pooled = act(norm(values, stage.first_norm))
    values = act(norm(conv(pooled, stage.convolutions[0].weight, padding=1), stage.norms[0]))
    values = act(norm(conv(values, stage.convolutions[1].weight, padding=1), stage.norms[1]) + pooled)
    expected = values.amax((2, 3)) @ inner(net).classes.weight.T / 6
    assert torch.allclose(net(images), expected)


def test_norms_have_no_scale_that_trains() -> None:
    for layer in network(Cfg()).modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert not layer.weight.requires_grad
            assert layer.bias.requires_grad
            assert layer.momentum == 0.4
