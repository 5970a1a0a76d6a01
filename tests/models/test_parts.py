"""Test which layers a network has, and which of them gives the classes."""

import pytest
import torch
from torch import nn

from imgrec.config.compose import compose
from imgrec.config.model import Model
from imgrec.errors import UsageError
from imgrec.models import parts
from imgrec.models.build import build
from imgrec.models.network import Network

timm = pytest.importorskip("timm")


def network(*words: str, side: int = 32) -> tuple[Model, Network]:
    cfg = compose(["data=digits", *words]).model
    with torch.device("meta"):
        made = build(cfg, num_classes=7, image_size=side, channels=3, mean=[0.0] * 3, std=[1.0] * 3, fetch=False)
    return cfg, made


def layers(*words: str, side: int = 32) -> list[set[str]]:
    """The names of the modules that own the tensors of each layer, from the images to the head."""
    found = parts.layers_of(*network(*words, side=side))
    return [
        {name.rpartition(".")[0].removeprefix("net.") for name, depth in found.items() if depth == number}
        for number in range(max(found.values()) + 1)
    ]


@pytest.mark.parametrize(
    ("words", "count", "head"),
    [
        (["model=cnn"], 5, {"classes"}),
        (["model=whitened_cnn"], 5, {"classes"}),
        (["model=resnet18"], 1 + 8 + 1, {"classes"}),
        (["model=resnet20"], 1 + 9 + 1, {"classes"}),
        (["model=preact_resnet18"], 1 + 8 + 1, {"classes"}),
        (["model=vgg16_bn"], 13 + 1, {"classes"}),
        (["model=vit_small"], 1 + 12 + 1, {"heads.head"}),
        (["model=torchvision", "model.architecture=convnext_tiny"], None, {"classifier.2"}),
        (["model=torchvision", "model.architecture=squeezenet1_1"], 1 + 8 + 1, {"classifier.1"}),
        (["model=torchvision", "model.architecture=googlenet"], None, {"fc"}),
        (["model=timm", "model.architecture=resnet18"], 1 + 8 + 1, {"fc"}),
        (["model=timm", "model.architecture=deit_tiny_distilled_patch16_224"], None, {"head", "head_dist"}),
    ],
    ids=lambda it: "-".join(it) if isinstance(it, list) else None,
)
def test_a_network_has_its_layers_in_order_and_its_head_last(
    words: list[str], count: int | None, head: set[str]
) -> None:
    found = layers(*words)
    assert found[-1] == head
    if count is not None:
        assert len(found) == count
    cfg, made = network(*words)
    assert set(parts.layers_of(cfg, made)) == set(made.state_dict()) - {"mean", "std"}


def test_a_normalisation_and_a_transformer_s_tokens_belong_to_the_layers_beside_them() -> None:
    first, *blocks, _ = layers("model=vit_small")
    assert first == {"net", "conv_proj", "encoder"}  # the class token, the patches, the positions
    assert any(name == "encoder.ln" for name in blocks[-1])
    assert layers("model=resnet18")[0] == {"backbone.conv1", "backbone.bn1"}


def test_an_outside_network_s_head_is_its_last_layer_with_weights_or_what_its_class_names() -> None:
    class Plain(Model):
        def build(self, *, num_classes: int, image_size: int, channels: int, fetch: bool) -> nn.Module:
            return nn.Sequential(
                nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, num_classes), nn.BatchNorm1d(3)
            )

    class Named(Plain):
        def head(self, net: nn.Module) -> tuple[str, ...]:
            return ("1",)

    net = Plain(name="x").build(num_classes=3, image_size=2, channels=3, fetch=False)
    made = Network(net, mean=[0.0] * 3, std=[1.0] * 3)
    assert parts.head_of(Plain(name="x"), made) == ("net.3",)
    assert parts.head_of(Named(name="x"), made) == ("net.1",)
    assert parts.head_of(Plain(name="x"), Network(nn.Linear(4, 2), mean=[0.0], std=[1.0])) == ("net",)
    with pytest.raises(UsageError, match=r"has no linear layer and no convolution; let its class name the layer"):
        parts.head_of(Plain(name="x"), Network(nn.Flatten(), mean=[0.0], std=[1.0]))


def test_frozen_layers_stay_in_evaluation_mode_and_without_gradients_until_they_thaw() -> None:
    cfg = compose(["data=digits", "model=resnet18", "model.freeze=3"]).model
    made = build(cfg, num_classes=2, image_size=8, channels=3, mean=[0.0] * 3, std=[1.0] * 3)
    frozen = parts.frozen_in(cfg, made)
    made.freeze(frozen)
    made.train()
    modes = {name: layer.training for name, layer in made.named_modules()}
    assert not modes["net.backbone.layer1"]
    assert modes["net.backbone.layer2.0.bn1"]
    assert modes["net"]
    made.eval()
    made.thaw()
    assert not made.net.training
    made.train()
    assert all(layer.training for layer in made.modules())
    assert all(parameter.requires_grad for parameter in made.parameters())


def test_what_a_network_never_trains_stays_so_when_it_thaws() -> None:
    """The whitening filters and the scales of the normalisations."""
    cfg = compose(["data=digits", "model=whitened_cnn", "model.freeze=backbone"]).model
    made = build(cfg, num_classes=2, image_size=32, channels=3, mean=[0.0] * 3, std=[1.0] * 3)
    before = {name: parameter.requires_grad for name, parameter in made.named_parameters()}
    made.freeze(parts.frozen_in(cfg, made))
    assert [name for name, parameter in made.named_parameters() if parameter.requires_grad] == ["net.classes.weight"]
    made.thaw()
    assert {name: parameter.requires_grad for name, parameter in made.named_parameters()} == before
