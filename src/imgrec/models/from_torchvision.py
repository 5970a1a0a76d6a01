"""Build torchvision's classifiers for other classes, channels and sizes of images."""

# N images, C channels, K classes

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torchvision import models
from torchvision.models.vision_transformer import interpolate_embeddings
from torchvision.ops import StochasticDepth

from imgrec.config.fields import known_or_nearest
from imgrec.errors import UsageError
from imgrec.models import pretrained
from imgrec.models.architecture import Architecture, last_layer, load_all_but, remake


@dataclass(frozen=True, kw_only=True)
class _Family:
    """What torchvision's class of networks takes.

    Attributes:
        first: The name of the first convolution.
        strides: True if the first convolution has a stride and overlapping patches, so that a smaller stem exists.
        pool: The name of the first pooling, which a small stem leaves out; None for none.
        dropout: The constructor's argument for dropout; None for none.
        drop_path: The constructor's argument for stochastic depth; "" where the builder has set it already, and None
            for an architecture without.
        size: The constructor's argument for the side of the images; None for any size.
        given: Arguments that turn off what a classifier does not need.
        reads: True if the builder reads values of tensors, which the meta device has not.
    """

    first: str
    strides: bool = True
    pool: str | None = None
    dropout: str | None = None
    drop_path: str | None = None
    size: str | None = None
    given: tuple[tuple[str, Any], ...] = ()
    reads: bool = False


_DEPTH = "stochastic_depth_prob"
_NO_AUXILIARY = (("aux_logits", False), ("init_weights", True))
_FAMILIES: Mapping[type[nn.Module], _Family] = {
    models.AlexNet: _Family(first="features.0", pool="features.2", dropout="dropout"),
    models.ConvNeXt: _Family(first="features.0.0", strides=False, drop_path=_DEPTH),
    models.DenseNet: _Family(first="features.conv0", pool="features.pool0", dropout="drop_rate"),
    models.EfficientNet: _Family(first="features.0.0", dropout="dropout", drop_path=_DEPTH),
    models.GoogLeNet: _Family(first="conv1.conv", pool="maxpool1", dropout="dropout", given=_NO_AUXILIARY),
    models.Inception3: _Family(first="Conv2d_1a_3x3.conv", pool="maxpool1", dropout="dropout", given=_NO_AUXILIARY),
    models.MaxVit: _Family(first="stem.0.0", strides=False, drop_path="", size="input_size"),
    models.MNASNet: _Family(first="layers.0", dropout="dropout"),
    models.MobileNetV2: _Family(first="features.0.0", dropout="dropout"),
    models.MobileNetV3: _Family(first="features.0.0", dropout="dropout"),
    models.RegNet: _Family(first="stem.0", reads=True),
    models.ResNet: _Family(first="conv1", pool="maxpool"),
    models.ShuffleNetV2: _Family(first="conv1.0", pool="maxpool"),
    models.SqueezeNet: _Family(first="features.0", pool="features.2", dropout="dropout"),
    models.SwinTransformer: _Family(first="features.0.0", strides=False, dropout="dropout", drop_path=""),
    models.VGG: _Family(first="features.0", strides=False, dropout="dropout"),
    models.VisionTransformer: _Family(first="conv_proj", strides=False, dropout="dropout", size="image_size"),
}


def names() -> list[str]:
    """Return torchvision's classifiers of the families that are known here, without quantized ones."""
    return [name for name in models.list_models(module=models) if _kind(name) in _FAMILIES]


def _kind(name: str) -> Any:
    return inspect.signature(models.get_model_builder(name)).return_annotation


@dataclass(frozen=True, kw_only=True)
class TorchvisionArchitecture(Architecture):
    """A classifier of torchvision."""

    @property
    def _family(self) -> _Family:
        return _FAMILIES[_kind(self.name)]

    def check(self) -> None:
        """See the base class."""
        known_or_nearest(
            "model.architecture", self.name, names(), what="a classifier of torchvision", listed="torchvision.models"
        )
        family = self._family
        if self.stem == "small" and not family.strides:
            raise UsageError(
                "model.stem=small is for convolutional networks whose first convolution has a stride, and"
                f" {self.name} is not one of them; leave model.stem out"
            )
        for key, value, argument, of in (
            ("dropout", self.dropout, family.dropout, "dropout"),
            ("drop_path", self.drop_path, family.drop_path, "stochastic depth"),
        ):
            if value is not None and argument is None:
                raise UsageError(
                    f"model.{key} needs an architecture of torchvision with {of}, and {self.name} has none; leave"
                    f" model.{key} out"
                )

    @property
    def can_shrink(self) -> bool:
        """See the base class."""
        return self._family.strides

    @property
    def is_sized(self) -> bool:
        """See the base class."""
        return self._family.size is not None

    def made(self, *, num_classes: int, image_size: int, channels: int) -> nn.Module:
        """See the base class."""
        family = self._family
        arguments: dict[str, Any] = {"num_classes": num_classes, **dict(family.given)}
        if family.size is not None:
            arguments[family.size] = image_size if family.size == "image_size" else (image_size, image_size)
        if self.dropout is not None and family.dropout:
            arguments[family.dropout] = self.dropout
        if self.drop_path is not None and family.drop_path:
            arguments[family.drop_path] = self.drop_path
        if self.pretrained and family.given == _NO_AUXILIARY:
            arguments["transform_input"] = True  # from ImageNet's normalisation to that of these weights
        net = _model(self.name, arguments, reads=family.reads)
        if self.drop_path is not None and not family.drop_path:
            _scale_depth(net, self.drop_path)
        first = net.get_submodule(family.first)
        assert isinstance(first, nn.Conv2d)
        remake(first, channels=channels, **({"kernel": 3, "stride": 1} if self.shrinks else {}))
        if self.shrinks and family.pool is not None:
            net.set_submodule(family.pool, nn.Identity())
        return net

    def load(self, net: nn.Module, image_size: int) -> None:
        """See the base class."""
        weights = pretrained.state_dict(self.name)
        for name in list(weights):
            if name.startswith(("aux1.", "aux2.", "AuxLogits.")):
                del weights[name]
            elif (renamed := _OLD_DENSE.sub(r"\1\2", name)) != name:
                weights[renamed] = weights.pop(name)
        if isinstance(net, models.VisionTransformer):
            weights = interpolate_embeddings(image_size, net.patch_size, weights)
        load_all_but([last_layer(net)], net, weights)

    def published(self) -> str | None:
        """See the base class."""
        return pretrained.name_if_new(self.name)

    def normalisation(self) -> tuple[Sequence[float], Sequence[float]]:
        """See the base class."""
        return pretrained.normalisation(self.name)


def _model(name: str, arguments: Mapping[str, Any], *, reads: bool) -> nn.Module:
    if not (reads and torch.get_default_device().type == "meta"):
        made: nn.Module = models.get_model(name, weights=None, **arguments)
        return made
    with torch.device("cpu"), torch.random.fork_rng(devices=[]):
        real: nn.Module = models.get_model(name, weights=None, **arguments)
    return real.to("meta")


# torchvision's files of DenseNet weights name a layer's parts `norm.1`, and its class `norm1`
_OLD_DENSE = re.compile(
    r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.(?:weight|bias|running_mean|running_var|num_batches_tracked))$"
)


def _scale_depth(net: nn.Module, drop_path: float) -> None:
    """Set stochastic depth as the constructor would: the probabilities rise linearly up to the last block's."""
    layers = [layer for layer in net.modules() if isinstance(layer, StochasticDepth)]
    largest = max(layer.p for layer in layers)
    for layer in layers:
        layer.p *= drop_path / largest
