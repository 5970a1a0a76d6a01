"""Test torchvision's classifiers: sizes and costs as published, stems, refusals, and weights."""

import dataclasses
import hashlib
import io
from functools import partial
from pathlib import Path
from typing import Any

import libraries
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models
from torchvision.ops import StochasticDepth

from imgrec.components.model.torchvision import Torchvision
from imgrec.config.compose import compose
from imgrec.errors import RunError, UsageError
from imgrec.models import from_torchvision, pretrained
from imgrec.models.build import build
from imgrec.models.convolution import SmallImageConv
from imgrec.models.from_torchvision import TorchvisionArchitecture

FAMILIES = [
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "googlenet",
    "inception_v3",
    "maxvit_t",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_y_400mf",
    "resnet18",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "swin_t",
    "swin_v2_t",
    "vgg11_bn",
    "vit_b_16",
    "wide_resnet50_2",
]
QUICK = ("resnet18", "mobilenet_v3_small", "squeezenet1_1")
EACH = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]
WITH_PATCHES = {"convnext_tiny", "maxvit_t", "swin_t", "swin_v2_t", "vit_b_16"}
KEEP_THEIR_STEM = {*WITH_PATCHES, "vgg11_bn"}

network, fitting = partial(libraries.network, Torchvision), partial(libraries.fitting, Torchvision)


def test_every_classifier_of_torchvision_is_of_a_known_family() -> None:
    assert from_torchvision.names() == models.list_models(module=models)
    families = {from_torchvision._kind(name) for name in FAMILIES}
    assert families == set(from_torchvision._FAMILIES), "each family is tested below"


@pytest.mark.parametrize("architecture", EACH)
def test_parameters_and_operations_are_the_published_ones(architecture: str) -> None:
    """With 1000 classes. Torchvision counts a multiplication with its addition once."""
    meta = models.get_model_weights(architecture).DEFAULT.meta  # type: ignore[attr-defined]
    side = {"inception_v3": 299, "efficientnet_v2_s": 384, "swin_v2_t": 256}.get(architecture, 224)
    stem = "published"
    with torch.device("meta"):
        net = network(architecture, image_size=side, classes=1000, stem=stem).eval()
        counter = FlopCounterMode(display=False)
        with counter:
            net(torch.empty(1, 3, side, side))
    auxiliary = 3_326_696 if architecture == "inception_v3" else 0  # counted there, and not for GoogLeNet
    assert sum(weight.numel() for weight in net.parameters()) == meta["num_params"] - auxiliary
    assert counter.get_total_flops() / 2e9 == pytest.approx(meta["_ops"], abs=6e-4)


@pytest.mark.parametrize("architecture", EACH)
def test_the_smallest_image_is_the_published_one(architecture: str) -> None:
    meta = models.get_model_weights(architecture).DEFAULT.meta  # type: ignore[attr-defined]
    made = TorchvisionArchitecture(name=architecture, stem="published")
    if made.is_sized:
        assert Torchvision(architecture=architecture).smallest is None
    elif architecture not in ("efficientnet_v2_s", "swin_t", "swin_v2_t"):  # which take smaller ones than published
        assert Torchvision(architecture=architecture, stem="published").smallest == meta["min_size"][0]


@pytest.mark.parametrize("architecture", EACH)
def test_each_family_learns_at_32_px_or_at_the_size_that_the_refusal_names(architecture: str) -> None:
    torch.manual_seed(0)
    side = fitting(architecture)
    assert side == (221 if architecture == "maxvit_t" else 32)  # whose halvings round up
    net = network(architecture, image_size=side)
    assert all(name in net.state_dict() for name in ("mean", "std"))
    logits = net(torch.rand(2, 3, side, side))
    assert logits.shape == (2, 10)
    F.cross_entropy(logits, torch.arange(2)).backward()
    broken = [
        name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.isfinite().all()
    ]
    assert broken == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "architecture", ["alexnet", "inception_v3", "vgg11_bn", "convnext_tiny", "vit_b_16", "vit_h_14"]
)
def test_images_that_do_not_fit_are_refused_with_the_smallest_that_do(architecture: str) -> None:
    side = {"vit_h_14": 32, "vit_b_16": 24}.get(architecture, 16)
    cfg = Torchvision(architecture=architecture, stem="published")
    with pytest.raises(UsageError, match=rf"got {side}; give data.image_size=\d+") as refusal:
        cfg.check_images(side, resizable=True)
    fits = int(str(refusal.value).split("data.image_size=")[1].split(",")[0])
    expected = {"alexnet": 63, "inception_v3": 75, "vgg11_bn": 32, "convnext_tiny": 32, "vit_b_16": 32, "vit_h_14": 42}
    assert fits == expected[architecture]
    cfg.check_images(fits, resizable=True)
    assert ("model.stem=small" in str(refusal.value)) == (architecture == "alexnet")
    with pytest.raises(UsageError, match=r"choose another one|=small"):
        cfg.check_images(side, resizable=False)
    if architecture != "vit_h_14":  # of 632 million parameters
        assert network(architecture, image_size=fits, stem="published").eval()(torch.rand(1, 3, fits, fits)).shape == (
            1,
            10,
        )


@pytest.mark.parametrize("architecture", EACH)
def test_a_small_stem_keeps_the_image(architecture: str) -> None:
    keeps = architecture in KEEP_THEIR_STEM
    if keeps:
        with pytest.raises(UsageError, match=r"model.stem=small is for .*leave model.stem out"):
            Torchvision(architecture=architecture, stem="small").check_images(224, resizable=True)
        return
    with torch.device("meta"):
        small, published = (network(architecture, image_size=96, stem=stem) for stem in ("small", "published"))
        auto = network(architecture, image_size=96)
    assert str(auto) == str(small)
    shapes: dict[str, list[tuple[int, ...]]] = {}
    for name, net in (("small", small), ("published", published)):
        found = shapes[name] = []
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d):
                layer.register_forward_hook(lambda _, __, out, found=found: found.append(tuple(out.shape[2:])))
        net(torch.empty(2, 3, 96, 96, device="meta"))
    assert shapes["small"][0] == (96, 96)
    assert max(shapes["published"][0]) < 50
    first = next(layer for layer in small.modules() if isinstance(layer, nn.Conv2d))
    assert (first.kernel_size, first.stride, first.padding) == ((3, 3), (1, 1), (1, 1))


def test_a_resnet_is_that_of_model_resnet18() -> None:
    from imgrec.components.model.resnet18 import Resnet18

    torch.manual_seed(0)
    ours = network("resnet18").eval()
    theirs = build(Resnet18(), num_classes=10, image_size=32, channels=3, mean=[0.5] * 3, std=[0.25] * 3).eval()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(ours(images), theirs(images))
    weights = [dict(net.named_parameters()) for net in (ours, theirs)]
    new = network("resnet18")
    stds = [
        float(net.state_dict()[name].std())
        for net, name in ((new, "net.conv1.weight"), (theirs, "net.backbone.conv1.weight"))
    ]
    assert stds[0] == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05), "He et al. 2015, by outgoing connections"
    assert len(weights[0]) == len(weights[1])


@pytest.mark.parametrize(
    "architecture",
    ["resnet18", *(pytest.param(name, marks=pytest.mark.slow) for name in ("swin_t", "efficientnet_b0"))],
)
def test_grey_images_have_a_first_convolution_whose_outputs_vary_as_much(architecture: str) -> None:
    torch.manual_seed(0)
    spread = []
    for channels in (3, 1):
        net = network(architecture, channels=channels, stem="published")
        assert net(torch.rand(2, channels, 32, 32)).shape == (2, 10)
        first = next(layer for layer in net.modules() if isinstance(layer, nn.Conv2d))
        assert first.in_channels == channels
        side = 4 * first.kernel_size[0]
        spread.append(float(nn.functional.conv2d(torch.randn(64, channels, side, side), first.weight).std().detach()))
    assert spread[0] == pytest.approx(spread[1], rel=0.15)


def test_convolutions_are_those_that_are_fast_on_a_cpu_with_the_same_values() -> None:
    net = network("resnet18").eval()
    assert any(isinstance(layer, SmallImageConv) for layer in net.modules())
    plain = TorchvisionArchitecture(name="resnet18").made(num_classes=10, image_size=32, channels=3).eval()
    plain.load_state_dict(net.net.state_dict())
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(net.net(images), plain(images))


DROPPING = {
    "alexnet",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "mobilenet_v3_small",
    "squeezenet1_1",
    "swin_t",
    "vgg11_bn",
    "vit_b_16",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "architecture",
    [
        "alexnet",
        "densenet121",
        "efficientnet_b0",
        "googlenet",
        "mobilenet_v3_small",
        "squeezenet1_1",
        "swin_t",
        "vgg11_bn",
        "vit_b_16",
        "resnet18",
        "convnext_tiny",
        "regnet_y_400mf",
    ],
)
def test_dropout_is_set_where_there_is_any(architecture: str) -> None:
    cfg = Torchvision(architecture=architecture, dropout=0.125)
    if architecture not in DROPPING:
        with pytest.raises(UsageError, match=rf"with dropout, and {architecture} has none; leave model.dropout out"):
            cfg.check_images(32, resizable=True)
        dataclasses.replace(cfg, dropout=None).check_images(32, resizable=True)
        return
    with torch.device("meta"):
        net = network(architecture, dropout=0.125)
    rates = {layer.p for layer in net.modules() if isinstance(layer, nn.Dropout)}
    rates |= {layer.drop_rate for layer in net.modules() if hasattr(layer, "drop_rate")}
    assert 0.125 in rates
    assert 0.2 not in rates
    assert 0.5 not in rates


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["convnext_tiny", "efficientnet_b0", "swin_t", "maxvit_t", "resnet18"])
@pytest.mark.parametrize("drop_path", [0.0, 0.3])
def test_stochastic_depth_rises_linearly_where_there_is_any(architecture: str, drop_path: float) -> None:
    cfg = Torchvision(architecture=architecture, drop_path=drop_path)
    side = fitting(architecture)
    if architecture == "resnet18":
        with pytest.raises(
            UsageError, match=r"with stochastic depth, and resnet18 has none; leave model.drop_path out"
        ):
            cfg.check_images(side, resizable=True)
        return
    with torch.device("meta"):
        own, net = (network(architecture, image_size=side, drop_path=value) for value in (None, drop_path))
    of_own, rates = ([layer.p for layer in each.modules() if isinstance(layer, StochasticDepth)] for each in (own, net))
    assert len(rates) == len(of_own) > 5
    published = {"convnext_tiny": 0.1}.get(architecture, 0.2)
    assert rates == pytest.approx([rate * drop_path / published for rate in of_own])


def test_an_unknown_name_is_refused_with_the_nearest_ones() -> None:
    for name, said in (
        ("resnet19", "did you mean resnet18, "),
        ("efficientnet-b0", "did you mean efficientnet_b0"),
        ("xyz", "torchvision.models lists them"),
        ("deeplabv3_resnet50", "got 'deeplabv3_resnet50'"),
    ):
        with pytest.raises(UsageError) as refusal:
            Torchvision(architecture=name).check_images(32, resizable=True)
        assert str(refusal.value).startswith("model.architecture must be a classifier of torchvision, got ")
        assert said in str(refusal.value)


def test_pretrained_weights_have_their_own_stem() -> None:
    with pytest.raises(
        UsageError, match=r"needs the stem that the weights were trained with, got model.stem='small'; leave"
    ):
        Torchvision(architecture="resnet18", pretrained=True, stem="small")
    with torch.device("meta"):
        net = network("resnet18", pretrained=True, fetch=False)
    assert next(layer for layer in net.modules() if isinstance(layer, nn.Conv2d)).kernel_size == (7, 7)
    with pytest.raises(UsageError, match=r"needs images of 3 channels, got 1; set model.pretrained=false"):
        network("resnet18", pretrained=True, channels=1)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch/hub/checkpoints"
    folder.mkdir(parents=True)
    return folder


def place(hub: Path, monkeypatch: pytest.MonkeyPatch, architecture: str, weights: dict[str, Tensor]) -> None:
    """Let a file of these weights lie where torchvision would download its own to."""
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    name = f"{architecture}-{hashlib.sha256(buffer.getvalue()).hexdigest()[:8]}.pth"
    (hub / name).write_bytes(buffer.getvalue())
    published = models.get_model_weights(architecture).DEFAULT  # type: ignore[attr-defined]
    here = dataclasses.replace(published.value, url=f"http://127.0.0.1:9/{name}")
    kind = type(published)

    class Placed:
        url, transforms = here.url, here.transforms

        def get_state_dict(self, **options: Any) -> Any:
            return kind.get_state_dict(self, **options)  # type: ignore[arg-type]

    monkeypatch.setitem(pretrained._WEIGHTS, architecture, Placed())


@pytest.mark.parametrize(
    ("architecture", "changed"),
    [
        ("squeezenet1_1", {}),
        pytest.param("mobilenet_v3_small", {}, marks=pytest.mark.slow),
        pytest.param("mnasnet0_5", {}, marks=pytest.mark.slow),
        pytest.param("googlenet", {"aux_logits": True, "init_weights": False}, marks=pytest.mark.slow),
        pytest.param("vit_b_32", {}, marks=pytest.mark.slow),
        pytest.param("swin_t", {}, marks=pytest.mark.slow),
        pytest.param("densenet121", {}, marks=pytest.mark.slow),
    ],
)
def test_pretrained_weights_reach_all_layers_but_the_last(
    architecture: str, changed: dict[str, Any], hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    theirs = models.get_model(architecture, weights=None, **changed)
    weights = theirs.state_dict()
    if architecture == "densenet121":  # as torchvision's old files name them
        for name in [name for name in weights if "denselayer" in name]:
            for part in ("norm", "conv"):
                for number in "12":
                    if f".{part}{number}." in name:
                        weights[name.replace(f"{part}{number}", f"{part}.{number}")] = weights.pop(name)
    place(hub, monkeypatch, architecture, weights)
    side = 64 if architecture == "vit_b_32" else 224
    net = network(architecture, pretrained=True, image_size=side)
    own = net.net.state_dict()
    last = [name for name in own if own[name].shape != theirs.state_dict()[name].shape]
    positions = ["encoder.pos_embedding"] if architecture == "vit_b_32" else []
    heads = [name for name in last if name not in positions]
    assert {name.rpartition(".")[2] for name in heads} == {"weight", "bias"}
    assert len(heads) == 2
    assert all(torch.equal(own[name], theirs.state_dict()[name]) for name in own if name not in last)
    assert net.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert net(torch.rand(2, 3, side, side)).shape == (2, 10)
    if architecture == "googlenet":
        assert net.net.transform_input is True
    thousand = network(architecture, pretrained=True, image_size=side, classes=1000)
    assert not torch.equal(thousand.net.state_dict()[heads[0]], theirs.state_dict()[heads[0]]) or heads[0].startswith(
        "heads"
    )


def test_the_constants_are_those_of_the_weights_own_transforms() -> None:
    with torch.device("cpu"):
        assert pretrained.normalisation("efficientnet_v2_l")[0] == (0.5, 0.5, 0.5)
    assert Torchvision(architecture="efficientnet_v2_l", pretrained=True).normalisation([0], [1]) == (
        (0.5, 0.5, 0.5),
        (0.5, 0.5, 0.5),
    )


def test_without_network_the_refusal_says_where_the_file_may_be_placed(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(hub, monkeypatch, "squeezenet1_1", {})
    for path in hub.iterdir():
        path.unlink()
    with pytest.raises(RunError, match=r"squeezenet1_1-\w+.pth could not be fetched .*; place the file at "):
        network("squeezenet1_1", pretrained=True)


def test_growing_images_begin_at_what_the_architecture_takes() -> None:
    words = ["augment=growing", "model=torchvision"]
    assert compose([*words, "model.architecture=resnet18"])
    with pytest.raises(UsageError, match=r"augment.sizes must lie in"):
        compose([*words, "model.architecture=vgg11"])
    with pytest.raises(UsageError, match=r"model=torchvision takes one"):
        compose([*words, "model.architecture=vit_b_16"])


def test_an_architecture_must_be_named() -> None:
    with pytest.raises(UsageError, match=r"model.architecture"):
        compose(["model=torchvision"])
