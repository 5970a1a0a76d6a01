"""Test that convolutions of small images have nn.Conv2d's values and gradients, for each way to sum the gradient."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from imgrec.cpu_features import sums_in_float32
from imgrec.models.convolution import SmallImageConv, for_small_images, side_by_side, without_narrow_strides


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("width", [1, 2, 3, 5, 7, 9, 10, 15])
@pytest.mark.parametrize("count", [1, 5, 16, 19])
@pytest.mark.parametrize("amx", [False, True])
def test_values_and_gradients_are_those_of_a_plain_convolution(
    kernel: int, width: int, count: int, amx: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_amx(amx, monkeypatch)
    generator = torch.Generator().manual_seed(width)
    conv = SmallImageConv(3, 4, kernel_size=kernel)
    images = torch.randn(count, 3, 6, width, generator=generator).bfloat16().float()
    conv.weight.data.copy_(conv.weight.data.bfloat16())
    ours = images.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        values = conv(ours)
    upstream = torch.randn(values.shape, generator=generator).bfloat16()
    values.backward(upstream)
    plain, weight = images.double().requires_grad_(), conv.weight.detach().double().requires_grad_()
    expected = F.conv2d(plain, weight, padding=kernel // 2)
    expected.backward(upstream.double())
    assert values.dtype == torch.bfloat16
    assert conv.weight.grad is not None
    assert ours.grad is not None
    # bfloat16 keeps 8 bits; where PyTorch emulates it, a gradient is rounded once for each of its parts
    parts = (1, 1, 1) if sums_in_float32() else (1, count, kernel**2)
    compared = ((values, expected), (conv.weight.grad, weight.grad), (ours.grad, plain.grad))
    for (got, wanted), roundings in zip(compared, parts, strict=True):
        assert wanted is not None
        unit = float(wanted.detach().abs().max()) / 256
        assert torch.allclose(got.double(), wanted, atol=unit * (1 + roundings))


def test_a_frozen_weight_and_images_without_gradient_are_left_out() -> None:
    conv = SmallImageConv(2, 2, kernel_size=3)
    conv.weight.requires_grad_(False)
    images = torch.randn(4, 2, 3, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        conv(images).sum().backward()
    assert conv.weight.grad is None
    assert images.grad is not None


def test_evaluation_is_a_plain_convolution_in_any_precision() -> None:
    conv = SmallImageConv(2, 3, kernel_size=3).eval()
    images = torch.randn(4, 2, 7, 7)
    assert torch.equal(conv(images), F.conv2d(images, conv.weight, padding=1))
    assert isinstance(conv, nn.Conv2d)


def test_training_in_float32_is_a_plain_convolution() -> None:
    conv = SmallImageConv(2, 3, kernel_size=3)
    images = torch.randn(4, 2, 7, 7)
    assert torch.equal(conv(images), F.conv2d(images, conv.weight, padding=1))


@pytest.mark.parametrize(
    ("width", "with_amx", "without"),
    [(1, 16, 16), (3, 8, 8), (4, 6, 1), (7, 4, 1), (9, 3, 1), (10, 1, 1), (15, 1, 1), (32, 1, 1)],
)
def test_rows_grow_to_about_32_pixels_where_that_pays(
    width: int, with_amx: int, without: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_amx(True, monkeypatch)
    assert side_by_side(width) == with_amx
    _with_amx(False, monkeypatch)
    assert side_by_side(width) == without


def _with_amx(amx: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": amx}, raising=False)


def test_fitting_convolutions_are_exchanged_under_the_same_names_and_weights() -> None:
    fitting = nn.Conv2d(2, 3, 3, padding=1, bias=False)
    others = [
        nn.Conv2d(3, 3, 3, padding=1),
        nn.Conv2d(3, 3, 3, stride=2, padding=1, bias=False),
        nn.Conv2d(3, 3, 1, stride=2, bias=False),
        nn.Conv2d(3, 3, 5, padding=2, bias=False),
        nn.Conv2d(3, 3, 3, padding=1, groups=3, bias=False),
        nn.Conv2d(3, 3, 3, padding=1, bias=False, padding_mode="reflect"),
        nn.Conv2d(3, 3, 3, padding=2, dilation=2, bias=False),
    ]
    pointwise = nn.Conv2d(3, 3, 1, bias=False)
    module = nn.Sequential(nn.Sequential(fitting, pointwise), *others)
    module[0][1].eval()  # type: ignore[index]
    names, before = list(module.state_dict()), torch.get_rng_state()
    assert for_small_images(module) is module
    assert torch.equal(torch.get_rng_state(), before), "layers built later would begin otherwise"
    assert [layer.training for layer in module[0]] == [True, False]  # type: ignore[union-attr]
    assert list(module.state_dict()) == names
    for exchanged, original in zip(module[0], (fitting, pointwise), strict=True):  # type: ignore[arg-type]
        assert isinstance(exchanged, SmallImageConv)
        assert exchanged.weight is original.weight
        assert torch.equal(
            exchanged(torch.ones(1, *original.weight.shape[1:])), original(torch.ones(1, *original.weight.shape[1:]))
        )
    assert list(module)[1:] == others


def test_other_kernels_are_refused() -> None:
    with pytest.raises(ValueError, match="kernel_size must be 1 or 3, got 5"):
        SmallImageConv(2, 2, kernel_size=5)


@pytest.mark.parametrize(("channels", "side", "groups", "bias"), [(3, 32, 1, False), (7, 9, 1, True), (4, 8, 2, False)])
def test_a_narrow_convolution_with_a_stride_has_its_values_and_gradients(
    channels: int, side: int, groups: int, bias: bool
) -> None:
    """PyTorch's own may end the process here, so the reference has contiguous images, with which it does not."""
    torch.manual_seed(0)
    plain = nn.Conv2d(channels, 48, 1, stride=2, groups=groups, bias=bias)
    net = without_narrow_strides(copy.deepcopy(nn.Sequential(plain)).to(memory_format=torch.channels_last))
    assert list(net.state_dict()) == list(nn.Sequential(plain).state_dict())
    images = torch.randn(8, channels, side, side)
    for _ in range(20):
        ours = images.contiguous(memory_format=torch.channels_last).clone().requires_grad_()
        theirs = images.clone().requires_grad_()
        for module, given in ((net, ours), (plain, theirs)):
            module.zero_grad()
            module(given).square().sum().backward()
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(net[0].weight.grad, plain.weight.grad, rtol=1e-4, atol=1e-3)


def test_other_convolutions_stay_pytorchs() -> None:
    others = nn.Sequential(nn.Conv2d(16, 4, 1, stride=2), nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(3, 4, 1))
    assert {type(layer) for layer in without_narrow_strides(others)} == {nn.Conv2d}
