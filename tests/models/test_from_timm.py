"""Test timm's classifiers: sizes as published, stems, refusals, weights, and what is said without timm."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import libraries
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from imgrec.components.model.timm import Timm
from imgrec.errors import RunError, UsageError

installed = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="needs the extra timm")

FAMILIES = {  # architecture: parameters with 1000 classes, in millions, as timm's results list them (param_count)
    "convnext_atto": 3.70,
    "densenet121": 7.98,
    "efficientnet_lite0": 4.65,
    "ghostnet_100": 5.18,
    "levit_128s": 7.78,
    "mixer_b32_224": 60.29,
    "mobilenetv4_conv_small": 3.77,
    "regnetx_002": 2.68,
    "repvgg_a0": 9.11,
    "resnet10t": 5.44,
    "resnet26d": 16.01,
    "resnetv2_50": 25.55,
    "swin_tiny_patch4_window7_224": 28.29,
    "vit_tiny_patch16_224": 5.72,
    "xcit_nano_12_p16_224": 3.05,
}

QUICK = ("resnet10t", "mobilenetv4_conv_small")
EACH = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]

network, fitting = partial(libraries.network, Timm), partial(libraries.fitting, Timm)


@installed
@pytest.mark.parametrize("architecture", EACH)
def test_parameters_are_the_published_ones(architecture: str) -> None:
    with torch.device("meta"):
        net = network(architecture, image_size=224, classes=1000, stem="published")
        assert net.eval()(torch.empty(1, 3, 224, 224)).shape == (1, 1000)
    assert sum(weight.numel() for weight in net.parameters()) / 1e6 == pytest.approx(FAMILIES[architecture], abs=0.006)


@installed
@pytest.mark.parametrize("architecture", EACH)
def test_each_family_learns_at_32_px_or_at_the_size_that_the_refusal_names(architecture: str) -> None:
    torch.manual_seed(0)
    side = fitting(architecture)
    net = network(architecture, image_size=side)
    logits = net(torch.rand(2, 3, side, side))
    assert logits.shape == (2, 10)
    F.cross_entropy(logits, torch.arange(2)).backward()
    broken = [
        name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.isfinite().all()
    ]
    assert broken == []
    grey = network(architecture, image_size=side, channels=1)
    assert grey(torch.rand(2, 1, side, side)).shape == (2, 10)


@installed
@pytest.mark.parametrize(
    "architecture",
    [
        "resnet10t",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("densenet121", "resnetv2_50", "regnetx_002")),
    ],
)
def test_a_small_stem_keeps_the_image(architecture: str) -> None:
    shapes: list[tuple[int, ...]] = []
    with torch.device("meta"):
        net = network(architecture, image_size=64)
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d):
                layer.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[2:])))
        net(torch.empty(2, 3, 64, 64))
    assert shapes[0] == (64, 64)
    assert shapes[4] == (64, 64) or architecture == "regnetx_002"  # which has no pool, and a stage that halves


@installed
def test_a_network_with_patches_has_its_published_stem_alone() -> None:
    cfg = Timm(architecture="vit_tiny_patch16_224", stem="small")
    with pytest.raises(UsageError, match=r"model.stem=small is for .*leave model.stem out"):
        cfg.check_images(32, resizable=True)
    Timm(architecture="vit_tiny_patch16_224").check_images(32, resizable=True)


@installed
@pytest.mark.long
def test_images_that_do_not_fit_are_refused_with_the_smallest_that_do() -> None:
    with pytest.raises(UsageError, match=r"got 12; give data.image_size=16"):
        Timm(architecture="vit_tiny_patch16_224").check_images(12, resizable=True)
    assert network("vit_tiny_patch16_224", image_size=16)(torch.rand(2, 3, 16, 16)).shape == (2, 10)
    assert Timm(architecture="vit_tiny_patch16_224").smallest is None
    assert Timm(architecture="resnet10t").smallest == 1


@installed
@pytest.mark.long
def test_dropout_and_stochastic_depth_are_timms() -> None:
    with torch.device("meta"):
        net = network("convnext_atto", dropout=0.25, drop_path=0.5)
    assert net.net.drop_rate == 0.25
    rates = [layer.drop_prob for layer in net.modules() if type(layer).__name__ == "DropPath"]
    assert rates[-1] == pytest.approx(0.5)
    assert rates == sorted(rates)
    cfg = Timm(architecture="mixer_b32_224", dropout=0.1)
    cfg.check_images(32, resizable=True)
    refused = Timm(architecture="vgg11", drop_path=0.1)
    with pytest.raises(UsageError, match=r"takes drop_path_rate, and vgg11 does not; leave model.drop_path out"):
        refused.check_images(32, resizable=True)
    Timm(architecture="vgg11").check_images(32, resizable=True)


@installed
def test_an_unknown_name_is_refused_with_the_nearest_ones() -> None:
    for name, said in (
        ("resnet19d", "did you mean resnet"),
        ("hf_hub:someone/network", "timm.list_models() lists them"),
        ("resnet50.no_such_tag", "did you mean resnet50"),
    ):
        with pytest.raises(UsageError) as refusal:
            Timm(architecture=name).check_images(32, resizable=True)
        assert str(refusal.value).startswith("model.architecture must be a classifier of timm, got ")
        assert said in str(refusal.value)
    Timm(architecture="resnet50.a1_in1k").check_images(32, resizable=True)


@installed
def test_pretrained_weights_reach_all_layers_but_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    torch.manual_seed(1)
    theirs = timm.create_model("resnet10t")
    create = timm.create_model

    def published(name: str, *, pretrained: bool = False, **given: Any) -> nn.Module:
        overlay = {"state_dict": theirs.state_dict(), "hf_hub_id": None, "url": ""}
        return create(
            name, pretrained=pretrained, **({"pretrained_cfg_overlay": overlay} if pretrained else {}), **given
        )

    monkeypatch.setattr(timm, "create_model", published)
    for classes in (10, 1000):
        net = network("resnet10t", pretrained=True, classes=classes, image_size=64)
        own = net.net.state_dict()
        for name, value in theirs.state_dict().items():
            assert torch.equal(own[name], value) != name.startswith("fc.") if classes == 1000 else True
            assert name.startswith("fc.") or torch.equal(own[name], value)
    assert net.mean.flatten().tolist() == pytest.approx(timm.get_pretrained_cfg("resnet10t").mean)
    first = next(layer for layer in net.modules() if isinstance(layer, nn.Conv2d))
    assert first.stride == (2, 2)


@installed
@pytest.mark.long
def test_weights_that_do_not_exist_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    without = next(name for name in timm.list_models("resnet*") if not timm.get_pretrained_cfg(name).has_weights)
    with pytest.raises(
        RunError, match=rf"timm's weights for {without} are not available .*; set model.pretrained=false"
    ):
        network(without, pretrained=True)


@installed
def test_convolutions_stay_timms_in_value() -> None:
    import timm

    torch.manual_seed(0)
    ours = network("resnet10t", stem="published").eval()
    theirs = timm.create_model("resnet10t", num_classes=10).eval()
    theirs.load_state_dict(ours.net.state_dict())
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(ours.net(images), theirs(images))


def test_without_timm_the_way_out_is_named(
    command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    words = ["data=digits", "trainer=cpu", "trainer.max_epochs=1"]
    code, _, err = command("train", *words, "model=timm", "model.architecture=resnet10t")
    assert code == 1, err
    assert err.splitlines()[-1] == (
        "imgrec: model=timm needs the package timm, which is not installed; in the clone,"
        " pip install -e '.[timm]', or choose model=torchvision"
    )
    assert command("train", *words, "model=timm", "model.architecture=resnet10t", "--cfg", "job")[0] == 0


@pytest.mark.long
def test_nothing_imports_timm_before_a_network_is_built() -> None:
    script = """
        import sys
        from imgrec import assembly, launch
        from imgrec.config.compose import compose
        from imgrec.help_page import help_page
        help_page(["model=timm", "model"])
        compose(["model=timm", "model.architecture=resnet10t"])
        assert "timm" not in sys.modules
    """
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(line.strip() for line in script.splitlines())], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
