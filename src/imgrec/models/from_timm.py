"""Build timm's classifiers for other classes, channels and sizes of images. timm is an optional package."""

# N images, C channels, K classes

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

import torch
from torch import nn

from imgrec.config.fields import known_or_nearest
from imgrec.errors import RunError, UsageError
from imgrec.models.architecture import Architecture, load_all_but, remake

# where timm's classes keep the pooling after the first convolution: ResNet and those like it, ResNetV2, DenseNet
_POOLS = ("maxpool", "stem.pool", "features.pool0")


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise RunError(
            "model=timm needs the package timm, which is not installed; in the clone,"
            " pip install -e '.[timm]', or choose model=torchvision"
        ) from error
    module: ModuleType = timm
    return module


@functools.cache
def names() -> frozenset[str]:
    """Return timm's architectures, alone and with the tag of each of their weights (`resnet50.a1_in1k`)."""
    timm = _timm()
    return frozenset([*timm.list_models(), *timm.list_pretrained()])


@dataclass(frozen=True)
class _Facts:
    """What timm says of an architecture.

    Attributes:
        side: The side of the images that it was published for, in pixels.
        is_sized: True if the constructor takes the side of the images.
        first: The name of the first convolution if a small stem exists; None for none.
        pool: The name of the pooling after it; None for none.
    """

    side: int
    is_sized: bool
    first: str | None
    pool: str | None


@functools.cache
def _facts(name: str) -> _Facts:
    with torch.device("meta"):
        net = _timm().create_model(name)
    cfg = net.pretrained_cfg
    side = int(cfg["input_size"][-1])
    is_sized = _takes(name, "img_size", side)
    first = cfg.get("first_conv")
    layers = dict(net.named_modules())
    convolution = layers.get(first) if isinstance(first, str) else None
    strides = isinstance(convolution, nn.Conv2d) and convolution.kernel_size[0] > convolution.stride[0] > 1
    pool = next((pool for pool in _POOLS if pool in layers), None)
    return _Facts(side, is_sized, first if strides and not is_sized else None, pool)


@functools.cache
def _takes(name: str, argument: str, value: float) -> bool:
    """Return True if the constructor of an architecture takes an argument."""
    try:
        with torch.device("meta"):
            _timm().create_model(name, **{argument: value})
    except TypeError as error:
        if argument not in str(error):
            raise
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class TimmArchitecture(Architecture):
    """A classifier of timm."""

    def check(self) -> None:
        """See the base class."""
        _timm()
        known_or_nearest(
            "model.architecture", self.name, sorted(names()), what="a classifier of timm", listed="timm.list_models()"
        )
        if self.stem == "small" and not self.can_shrink:
            raise UsageError(
                "model.stem=small is for convolutional networks whose first convolution has a stride, and"
                f" {self.name} is not one of them; leave model.stem out"
            )
        for key, value, argument in (
            ("dropout", self.dropout, "drop_rate"),
            ("drop_path", self.drop_path, "drop_path_rate"),
        ):
            if value is not None and not _takes(self.name, argument, value):
                raise UsageError(
                    f"model.{key} needs an architecture of timm that takes {argument}, and {self.name} does not; leave"
                    f" model.{key} out"
                )

    @property
    def can_shrink(self) -> bool:
        """See the base class."""
        return _facts(self.name).first is not None

    @property
    def is_sized(self) -> bool:
        """See the base class."""
        return _facts(self.name).is_sized

    def made(self, *, num_classes: int, image_size: int, channels: int) -> nn.Module:
        """See the base class."""
        net: nn.Module = self._created(
            num_classes=num_classes, image_size=image_size, channels=channels, pretrained=False
        )
        facts = _facts(self.name)
        if self.shrinks and facts.first is not None:
            first = net.get_submodule(facts.first)
            assert isinstance(first, nn.Conv2d)
            remake(first, kernel=3, stride=1)
            if facts.pool is not None:
                net.set_submodule(facts.pool, nn.Identity())
        return net

    def load(self, net: nn.Module, image_size: int) -> None:
        """See the base class."""
        classes = int(cast(Any, net).num_classes)
        try:
            fetched = self._created(num_classes=classes, image_size=image_size, channels=3, pretrained=True)
        except (OSError, RuntimeError) as error:  # no network, no such file, no weights for this architecture
            reason = " ".join(str(error).split())
            raise RunError(
                f"timm's weights for {self.name} are not available ({reason}); set model.pretrained=false"
            ) from error
        load_all_but(self.head(fetched), net, fetched.state_dict())

    def head(self, net: nn.Module) -> tuple[str, ...]:
        """See the base class. A distilled transformer has two."""
        last: str | Sequence[str] = cast(Any, net).pretrained_cfg["classifier"]
        return (last,) if isinstance(last, str) else tuple(last)

    def layers(self, net: nn.Module) -> Mapping[str, int]:
        """See the base class. It is timm's own grouping, by which its layer-wise rates go."""
        matcher: Any = getattr(net, "group_matcher", None)
        if matcher is None:
            return {}
        _timm()
        from timm.models import group_parameters

        found: dict[str, int] = group_parameters(net, matcher(coarse=False), reverse=True)
        depth, depths = 0, dict[str, int]()
        for name in net.state_dict():  # statistics have the depth of the parameters before them
            depth = depths[name] = found.get(name, depth)
        return depths

    def check_weights(self) -> None:
        """Refuse a name without a tag, as timm's default may become another. With a tag the run's id contains it."""
        self.check()
        if "." not in self.name and (tag := _timm().get_pretrained_cfg(self.name).tag):
            raise UsageError(
                "model.pretrained=true needs the tag of timm's weights in model.architecture, as the default tag may"
                f" become another, got {self.name!r}; give model.architecture={self.name}.{tag}"
            )

    def normalisation(self) -> tuple[Sequence[float], Sequence[float]]:
        """See the base class."""
        cfg = _timm().get_pretrained_cfg(self.name)
        return cfg.mean, cfg.std

    def _created(self, *, num_classes: int, image_size: int, channels: int, pretrained: bool) -> Any:
        given: dict[str, Any] = {"num_classes": num_classes, "in_chans": channels, "pretrained": pretrained}
        if self.is_sized:
            given["img_size"] = image_size
        return _timm().create_model(self.name, drop_rate=self.dropout, drop_path_rate=self.drop_path, **given)
