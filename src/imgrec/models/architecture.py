"""Adapt the architectures of a library to other classes, channels and sizes of images."""

# N images, C channels, S the image's side, K classes

import dataclasses
import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from imgrec.errors import UsageError
from imgrec.models.convolution import for_small_images

_LARGEST = 1024  # px: the largest side that is looked at for a size that fits


@dataclass(frozen=True, kw_only=True)
class Architecture(ABC):
    """An architecture of a library, with the settings of a network of it.

    Attributes:
        name: The library's name of it.
        stem: `small`: the first convolution has stride 1, and 3x3 pixels where it had more, with no pooling after it.
            `published`: as the library has it. `auto`: small where `can_shrink` and not pretrained, else published.
        pretrained: True for the library's weights in all layers but the last.
        dropout: The probability of dropping a value; None for the architecture's own.
        drop_path: The probability of leaving out the last block (stochastic depth, Huang et al. 2016), which falls
            linearly towards the first one; None for the architecture's own.
    """

    name: str
    stem: str = "auto"
    pretrained: bool = False
    dropout: float | None = None
    drop_path: float | None = None

    @abstractmethod
    def check(self) -> None:
        """Refuse an unknown name, and settings that the architecture does not have.

        Raises:
            UsageError: The name is unknown, or a setting would have no effect.
        """

    @property
    @abstractmethod
    def can_shrink(self) -> bool:
        """True if a small stem differs from the published one."""

    @property
    @abstractmethod
    def is_sized(self) -> bool:
        """True if a network is made for one size of images."""

    @abstractmethod
    def made(self, *, num_classes: int, image_size: int, channels: int) -> nn.Module:
        """Return a network with random weights: (N, C, S, S) -> logits (N, K)."""

    @abstractmethod
    def load(self, net: nn.Module, image_size: int) -> None:
        """Load the library's weights into all layers but the last.

        Raises:
            RunError: The weights are not available.
        """

    @abstractmethod
    def normalisation(self) -> tuple[Sequence[float], Sequence[float]]:
        """Return mean and deviation of each channel, of pixels in [0, 1], that the library's weights expect."""

    def layers(self, net: nn.Module) -> Mapping[str, int]:
        """Return the depth of each tensor of a network, where the library says it; else {}."""
        return {}

    def published(self) -> str | None:
        """Return the library's name of its weights for a run's id; None if the architecture's name says it."""
        return None

    def check_weights(self) -> None:  # noqa: B027 - most libraries have nothing to refuse
        """Refuse a name of weights that the library may give to others.

        Raises:
            UsageError: The name has no tag, say.
        """

    def head(self, net: nn.Module) -> tuple[str, ...]:
        """Return the names of the layers of a network that give the classes."""
        return (last_layer(net),)

    @property
    def shrinks(self) -> bool:
        """True if the network has a small stem."""
        return self.stem == "small" or (self.stem == "auto" and self.can_shrink and not self.pretrained)

    def build(self, *, num_classes: int, image_size: int, channels: int, fetch: bool) -> nn.Module:
        """Return the network: (N, C, S, S), normalised -> logits (N, K).

        Args:
            num_classes: K.
            image_size: S.
            channels: C.
            fetch: False to build without pretrained weights, for a network whose weights come from a checkpoint.

        Raises:
            UsageError: The settings or the images do not fit the architecture.
            RunError: The pretrained weights are not available.
        """
        self.check()
        if self.pretrained and channels != 3:
            raise UsageError(
                f"model.pretrained=true needs images of 3 channels, got {channels}; set model.pretrained=false"
            )
        self.check_side(image_size)
        net = self.made(num_classes=num_classes, image_size=image_size, channels=channels)
        if self.pretrained and fetch:
            self.load(net, image_size)
        return for_small_images(net)

    def check_side(self, side: int, *, resizable: bool = True) -> None:
        """Refuse images that do not fit, with the next larger size that does.

        Args:
            side: The side of the images, in pixels.
            resizable: True if data.image_size sets the side, False if the data set determines it.

        Raises:
            UsageError: The images do not fit.
        """
        outline = self._outline()
        if (reason := _misfit(outline, side)) is None:
            return
        of = f"model.architecture={self.name}" + (f" with model.stem={self.stem}" if self.can_shrink else "")
        fitting = next((larger for larger in range(side + 1, _LARGEST + 1) if _misfit(outline, larger) is None), None)
        if fitting is None:
            raise UsageError(
                f"{of} takes images of no size from {side} to {_LARGEST} px: {reason}", way_out="choose another one"
            )
        ways = [f"give data.image_size={fitting}"] if resizable else []
        may_shrink = self.can_shrink and not self.shrinks and not self.pretrained
        if may_shrink and _misfit(dataclasses.replace(outline, stem="small"), side) is None:
            ways.append("model.stem=small")
        raise UsageError(
            f"{of} takes images of {fitting} px, and no smaller ones from {side} px, got {side}",
            way_out=", or ".join(ways) or "choose another one",
        )

    def smallest(self) -> int | None:
        """Return the smallest side of images that fit, in pixels; None if a network is made for one size.

        A network that takes one side takes all larger ones.

        Raises:
            UsageError: The name is unknown, or a setting would have no effect.
        """
        self.check()
        if self.is_sized:
            return None
        outline, low, high = self._outline(), 0, 1
        while high < _LARGEST and _misfit(outline, high) is not None:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if _misfit(outline, middle) is None else (middle, high)
        return high

    def _outline(self) -> "Architecture":
        """Return the same architecture with only those settings that decide which images fit."""
        stem = "small" if self.shrinks else "published"
        return dataclasses.replace(self, stem=stem, pretrained=False, dropout=None, drop_path=None)


@functools.cache
def _misfit(architecture: Architecture, side: int) -> str | None:
    """Return why images of this side do not fit; None if they do. Shapes alone are computed."""
    try:
        with torch.device("meta"), torch.no_grad():
            net = _shapes(architecture, side if architecture.is_sized else None)
            logits_nk = net(torch.empty(2, 3, side, side))
    except Exception as error:  # libraries raise errors of all kinds for a size
        return f"{type(error).__name__}: {error}"
    return None if logits_nk.shape == (2, 2) else f"it gives {tuple(logits_nk.shape)} in place of logits"


@functools.lru_cache(maxsize=2)
def _shapes(architecture: Architecture, side: int | None) -> nn.Module:
    """Return a network of two classes on the meta device, for one side or for all."""
    return architecture.made(num_classes=2, image_size=side or 224, channels=3).eval()


def remake(
    convolution: nn.Conv2d, *, channels: int | None = None, kernel: int | None = None, stride: int | None = None
) -> None:
    """Give a convolution other input channels, another kernel with padding that keeps the size, or another stride.

    A weight whose shape changes is drawn anew, from a normal distribution with which the outputs keep their variance:
    the deviation is the old weight's times the square root of (old inputs / new inputs) of an output. For the first
    convolution of torchvision's residual networks this is their own initialisation.

    Args:
        convolution: The convolution, of one group.
        channels: The new input channels; None for the old ones.
        kernel: The new side of the kernel, in pixels; None for the old one.
        stride: The new stride; None for the old one.
    """
    old = convolution.weight
    if stride is not None:
        convolution.stride = (stride, stride)
    if kernel is not None:
        convolution.kernel_size, convolution.padding = (kernel, kernel), (kernel // 2, kernel // 2)
    if channels is not None:
        convolution.in_channels = channels
    shape = (old.shape[0], convolution.in_channels, *convolution.kernel_size)
    if shape == tuple(old.shape):
        return
    with torch.no_grad():
        scale = old.std() * math.sqrt(old[0].numel() / math.prod(shape[1:]))
        convolution.weight = nn.Parameter(old.new_empty(shape).normal_() * scale)


def last_layer(net: nn.Module) -> str:
    """Return the name of the layer that gives the classes: the last linear layer or convolution."""
    *_, last = (name for name, layer in net.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d)))
    return str(last)


def load_all_but(last: Sequence[str], net: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load weights into all layers but some.

    Args:
        last: The names of the layers that keep their own weights.
        net: The network.
        weights: The weights, which are changed.

    Raises:
        RuntimeError: Weights are missing, or are those of another network.
    """
    own = net.state_dict()
    weights.update({name: value for name, value in own.items() if name.rpartition(".")[0] in last})
    net.load_state_dict(weights)
