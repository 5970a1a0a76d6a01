"""Test the networks that papers published for CIFAR: their sizes, by the papers and by hand, and their blocks."""

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from imgrec.components.model.densenet_bc import DensenetBc
from imgrec.components.model.preact_resnet18 import PreactResnet18
from imgrec.components.model.residual import Residual
from imgrec.components.model.resnet18 import Resnet18
from imgrec.components.model.resnet20 import Resnet20
from imgrec.components.model.resnet50 import Resnet50
from imgrec.components.model.resnet56 import Resnet56
from imgrec.components.model.resnet110 import Resnet110
from imgrec.components.model.vgg16_bn import Vgg16Bn
from imgrec.components.model.vit_small import VitSmall
from imgrec.components.model.wide_resnet import WideResnet
from imgrec.config.compose import compose
from imgrec.config.model import Model
from imgrec.errors import UsageError
from imgrec.models.build import build
from imgrec.models.network import Network
from imgrec.optim.parameters import groups, muon_groups
from imgrec.training.averaging import count_statistics

ALL: list[Model] = [
    DensenetBc(depth=16, growth=4),
    PreactResnet18(),
    Resnet20(),
    Vgg16Bn(),
    VitSmall(),
    WideResnet(depth=10, widen=2),
]


def network(cfg: Model, *, image_size: int = 32, channels: int = 3) -> Network:
    return build(
        cfg, num_classes=10, image_size=image_size, channels=channels, mean=[0.5] * channels, std=[0.25] * channels
    )


def parameters(cfg: Model) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in network(cfg).parameters())


@pytest.mark.parametrize(
    ("cfg", "millions", "digits"),
    [
        (Resnet20(), 0.27, 2),  # He et al. 2016, table 6
        (Resnet56(), 0.85, 2),
        (Resnet110(), 1.7, 1),
        (WideResnet(), 36.5, 1),  # Zagoruyko & Komodakis 2016, table 4: WRN-28-10
        (WideResnet(depth=40, widen=4), 8.9, 1),
        (WideResnet(depth=16, widen=8), 11.0, 1),
        (WideResnet(depth=22, widen=8), 17.2, 1),
        (DensenetBc(), 0.8, 1),  # Huang et al. 2017, table 2
        (DensenetBc(depth=250, growth=24), 15.3, 1),
        (DensenetBc(depth=190, growth=40), 25.6, 1),
    ],
    ids=lambda it: it.name if isinstance(it, Model) else str(it),
)
def test_the_papers_state_these_parameters(cfg: Model, millions: float, digits: int) -> None:
    assert round(parameters(cfg) / 1e6, digits) == millions


def test_parameters_by_hand() -> None:
    widths = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    convolutions = sum((9 * before + 1) * after for before, after in zip([3, *widths], widths, strict=False))
    assert parameters(Vgg16Bn()) == convolutions + 2 * sum(widths) + 513 * 10 == 14_728_266

    d = 384
    block = 2 * 2 * d + (d + 1) * 3 * d + (d + 1) * d + (d + 1) * 4 * d + (4 * d + 1) * d
    patches, tokens = (3 * 4 * 4 + 1) * d, d + (8 * 8 + 1) * d
    assert parameters(VitSmall()) == patches + tokens + 12 * block + 2 * d + (d + 1) * 10 == 21_342_346

    # torchvision's ResNet-18 normalises after each of its 19 other convolutions, this one before each of 16 and once at
    # the end: four of 64 and as many of 128 and 256 (but one of 64, 128, 256 where a stage begins), three of 512, one
    stages = [64, 128, 256, 512]
    plain = 9 * 3 * 64 + sum(
        9 * before * width + 3 * 9 * width * width + (before * width if before != width else 0)
        for before, width in zip([64, *stages], stages, strict=False)
    )
    norms = 2 * sum(before + 3 * width for before, width in zip([64, *stages], stages, strict=False)) + 2 * 512
    assert parameters(PreactResnet18()) == plain + norms + 513 * 10 == 11_172_170


@pytest.mark.parametrize("cfg", ALL, ids=lambda it: it.name)
@pytest.mark.parametrize(("image_size", "channels"), [(32, 3), (36, 1)])
def test_each_learns_from_images_of_other_sizes_and_channels(cfg: Model, image_size: int, channels: int) -> None:
    torch.manual_seed(0)
    net = network(cfg, image_size=image_size, channels=channels)
    logits = net(torch.rand(4, channels, image_size, image_size))
    assert logits.shape == (4, 10)
    F.cross_entropy(logits, torch.arange(4)).backward()
    missing = [
        name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.isfinite().all()
    ]
    assert missing == []


@pytest.mark.parametrize("cfg", ALL, ids=lambda it: it.name)
def test_the_smallest_image_leaves_a_pixel(cfg: Model) -> None:
    side = cfg.smallest
    if side is None:
        assert isinstance(cfg, VitSmall)  # one size alone
        return
    assert network(cfg, image_size=side).eval()(torch.rand(1, 3, side, side)).shape == (1, 10)


def test_a_preactivated_block_is_the_papers() -> None:
    """He et al. 2016b, figure 4 (e): norm, ReLU, convolution, twice; the sum stays as it is."""
    torch.manual_seed(0)
    net = network(WideResnet(depth=16, widen=1)).double().eval()
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_().mul_(0.1)  # type: ignore[union-attr]
            layer.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    weights: dict[str, Tensor] = net.net.state_dict()

    def norm(values: Tensor, name: str) -> Tensor:
        mean, var, scale, shift = (
            weights[f"{name}.{part}"].view(1, -1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return ((values - mean) / (var + 1e-5).sqrt() * scale + shift).clamp(min=0)

    images = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    values = F.conv2d((images - 0.5) / 0.25, weights["stem.weight"], padding=1)
    for index in range(6):
        name, stride = f"blocks.{index}", 2 if index in (2, 4) else 1
        first = norm(values, f"{name}.norm1")
        inner = F.conv2d(first, weights[f"{name}.conv1.weight"], stride=stride, padding=1)
        inner = F.conv2d(norm(inner, f"{name}.norm2"), weights[f"{name}.conv2.weight"], padding=1)
        if stride == 2:
            around = F.conv2d(first, weights[f"{name}.shortcut.weight"], stride=2)
        else:
            around = first if index == 0 else values  # the first block adds what is activated
        values = inner + around
    expected = norm(values, "norm").mean((2, 3)) @ weights["classes.weight"].T + weights["classes.bias"]
    torch.testing.assert_close(net(images), expected)


def test_dropout_lies_between_the_convolutions_of_a_wide_block() -> None:
    torch.manual_seed(0)
    net = network(WideResnet(depth=10, widen=1, dropout=0.5))
    seen: list[Tensor] = []
    block = net.net.blocks[0]  # type: ignore[index, union-attr]
    block.conv2.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.rand(2, 3, 32, 32)
    net(images), net(images)
    assert not torch.equal(seen[0], seen[1])
    net.eval()
    assert torch.equal(net(images), net(images))


RESIDUAL = {
    "resnet18": (Resnet18(drop_path=0.4), 8),
    "resnet50": (Resnet50(drop_path=0.4), 16),
    "resnet20": (Resnet20(drop_path=0.4), 9),
    "wide_resnet": (WideResnet(depth=10, widen=1, drop_path=0.4), 3),
    "preact_resnet18": (PreactResnet18(drop_path=0.4), 8),
    "vit_small": (VitSmall(patch=16, drop_path=0.4), 24),
}


@pytest.mark.long
@pytest.mark.parametrize(("config", "branches"), RESIDUAL.values(), ids=RESIDUAL)
def test_stochastic_depth_leaves_out_branches_of_single_images(config: Residual, branches: int) -> None:
    """Weights, their names and evaluation are those of the network without it."""
    torch.manual_seed(0)
    plain = network(dataclasses.replace(config, drop_path=0.0)).eval()
    torch.manual_seed(0)
    net = network(config)
    assert list(net.state_dict()) == list(plain.state_dict())
    assert all(torch.equal(weight, plain.state_dict()[name]) for name, weight in net.state_dict().items())
    images = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(net.eval()(images), plain(images))
    parts = [layer for layer in net.modules() if isinstance(layer, StochasticDepth)]
    each = [layer.p for layer in parts]
    rises = [0.4 * (k + 1) / len(set(each)) for k in range(len(set(each)))]
    assert each == sorted(each)
    assert sorted(set(each)) == pytest.approx(rises)
    assert len(parts) == branches
    values = torch.rand(1000, 8)
    kept = parts[-1].train()(values)
    assert 0.3 < (kept == 0).all(dim=1).float().mean() < 0.5
    assert torch.allclose(kept[kept.any(dim=1)], values[kept.any(dim=1)] / 0.6)


@pytest.mark.parametrize("config", [Resnet20(drop_path=0.5), WideResnet(depth=10, widen=1, drop_path=0.5)], ids=repr)
def test_statistics_are_counted_of_whole_networks(config: Residual) -> None:
    torch.manual_seed(0)
    net = network(config)
    images = [torch.rand(8, 3, 32, 32) for _ in range(3)]
    before = torch.get_rng_state()
    count_statistics(net, iter(images))
    once = {name: value.clone() for name, value in net.state_dict().items()}
    count_statistics(net, iter(images))
    assert all(torch.equal(value, once[name]) for name, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), before)
    assert all(layer.training for layer in net.modules())


def test_a_shortcut_of_option_a_takes_every_second_pixel_and_adds_empty_channels() -> None:
    torch.manual_seed(0)
    net = network(Resnet20()).eval()
    block = net.net.blocks[3]  # type: ignore[index, union-attr]
    with torch.no_grad():
        block.bn2.weight.zero_()
        block.bn2.bias.zero_()
        values = torch.rand(1, 16, 8, 8)
        out = block(values)
    assert torch.equal(out[:, :16], values[:, :, ::2, ::2])
    assert not out[:, 16:].any()
    assert out.shape == (1, 32, 4, 4)
    assert not any(name.startswith("blocks.3.downsample") for name in net.net.state_dict())


def test_densenet_is_torchvisions_with_another_stem() -> None:
    torch.manual_seed(0)
    ours = network(DensenetBc(depth=16, growth=4)).eval()
    weights = ours.net.state_dict()
    stem = weights.pop("features.conv0.weight")
    theirs = torchvision.models.DenseNet(4, (2, 2, 2), 8, num_classes=10).eval()
    missing = theirs.load_state_dict(weights, strict=False).missing_keys
    assert {name.split(".")[1] for name in missing} == {"conv0", "norm0"}
    images = torch.rand(2, 3, 32, 32)
    values = F.conv2d((images - 0.5) / 0.25, stem, padding=1)
    for name, layer in theirs.features.named_children():
        if not name.endswith("0"):
            values = layer(values)
    torch.testing.assert_close(ours(images), theirs.classifier(F.relu(values).mean((2, 3))))


def test_muon_leaves_what_is_no_layers_weight_to_adamw() -> None:
    net = network(VitSmall())
    names = {parameter: name.removeprefix("net.") for name, parameter in net.named_parameters()}
    hidden, others, spared = (
        {names[parameter] for parameter in group["params"]}
        for group in muon_groups(net, adamw_lr=0.1, decay_norm_and_bias=False, weight_decay=0.1)
    )
    assert others == {"class_token", "encoder.pos_embedding", "heads.head.weight"}
    assert {"conv_proj.weight", "encoder.layers.encoder_layer_3.self_attention.in_proj_weight"} <= hidden
    assert all(name.endswith("weight") for name in hidden)
    _, minor = groups(net, decay_norm_and_bias=False, weight_decay=0.1)
    assert {names[parameter] for parameter in minor["params"]} == spared
    assert "encoder.layers.encoder_layer_3.self_attention.in_proj_bias" in spared


@pytest.mark.parametrize(
    ("words", "sentence", "way_out"),
    [
        (["model=wide_resnet", "model.depth=30"], "model.depth must be 6 n + 4, got 30", ["model.depth=28"]),
        (["model=densenet_bc", "model.depth=98"], "model.depth must be 6 n + 4, got 98", ["model.depth=100"]),
        (
            ["model=vit_small", "model.patch=5"],
            "model.patch must divide the images' side of 32 px, got 5",
            ["model.patch=8"],
        ),
        (
            ["model=vit_small", "data=folder", "data.root=x", "data.image_size=30"],
            "data.image_size must be a multiple of 4, model.patch, got 30",
            ["data.image_size=32"],
        ),
        (
            ["model=vgg16_bn", "data=folder", "data.root=x", "data.image_size=24"],
            "model=vgg16_bn needs images of at least 32 px, got 24; give data.image_size=32",
            ["data.image_size=32"],
        ),
    ],
    ids=str,
)
def test_what_a_network_cannot_be_is_refused_with_a_way_out(
    words: list[str], sentence: str, way_out: list[str]
) -> None:
    with pytest.raises(UsageError) as refusal:
        compose(words)
    assert sentence in str(refusal.value)
    assert compose([*words, *way_out])


def test_a_network_of_one_size_cannot_grow() -> None:
    growing: Any = ["augment=growing"]
    with pytest.raises(UsageError, match="model=vit_small takes one"):
        compose([*growing, "model=vit_small"])
    assert compose([*growing, "model=resnet20"])
