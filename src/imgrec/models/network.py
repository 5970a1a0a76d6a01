"""Define a network that takes plain pixels, as normalisation is its first layer."""

# N images, C channels, H height, W width, K classes

from collections.abc import Collection, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from imgrec.errors import UsageError


@runtime_checkable
class FromData(Protocol):
    """A network with layers whose weights are computed from images before the first step."""

    def initialise(self, images_nchw: Tensor) -> None:
        """Set these layers. images_nchw: normalised, (N, C, H, W)."""


class Network(nn.Module):
    """Normalisation, then `net`.

    The constants are buffers: they move to devices and are saved with the weights, an attack's budget stays in pixels,
    and an exported model takes plain images.

    Args:
        net: (N, C, H, W), normalised -> (N, K).
        mean: One value for each channel, of pixels in [0, 1].
        std: One value > 0 for each channel, of pixels in [0, 1].

    Raises:
        ValueError: Their lengths differ, or a std is not > 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, *, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std):
            raise ValueError(f"mean and std must have one value a channel, got {len(mean)} and {len(std)} values")
        if not all(value > 0 for value in std):
            raise ValueError(f"std must be > 0 in every channel, got {list(std)}; leave out channels that never vary")
        self._kept: tuple[str, ...] = ()
        self._evaluated: tuple[str, ...] = ()
        self.net = net
        self.register_buffer("mean", torch.tensor(list(mean), dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(list(std), dtype=torch.float32).view(1, -1, 1, 1))

    def freeze(self, tensors: Collection[str]) -> None:
        """Keep tensors as they are, until `thaw`.

        These parameters get no gradient. Layers all of whose tensors are kept, with what lies in them, are in
        evaluation mode, also while the others train: batch normalisations keep their statistics, nothing is dropped.

        Args:
            tensors: Names as in `state_dict()`.
        """
        self.thaw()
        parameters = dict(self.named_parameters())
        self._kept = tuple(name for name in tensors if name in parameters and parameters[name].requires_grad)
        self._evaluated = tuple(name for name, layer in self.named_modules() if _is_among(name, layer, tensors))
        for name in self._kept:
            parameters[name].requires_grad_(False)
        self.train(self.training)

    def thaw(self) -> None:
        """Let all parameters train that `freeze` has kept."""
        parameters = dict(self.named_parameters())
        for name in self._kept:
            parameters[name].requires_grad_(True)
        self._kept, self._evaluated = (), ()
        self.train(self.training)

    @property
    def evaluated(self) -> Collection[str]:
        """The names of the layers that stay in evaluation mode."""
        return self._evaluated

    def train(self, mode: bool = True) -> "Network":
        """Set the mode as nn.Module.train does, but keep frozen layers in evaluation mode."""
        super().train(mode)
        for name in self._evaluated:
            self.get_submodule(name).eval()
        return self

    @property
    def begins_from_data(self) -> bool:
        """True if layers of `net` must be set by `initialise` before the first step."""
        return isinstance(self.net, FromData)

    def initialise(self, images_nchw: Tensor) -> None:
        """Set the layers that need data. images_nchw: of the training set, (N, C, H, W), float, in [0, 1]."""
        if isinstance(self.net, FromData):
            self.net.initialise((images_nchw - self.mean) / self.std)

    def forward(self, images_nchw: Tensor) -> Tensor:
        """Return logits (N, K) of images (N, C, H, W), float, in [0, 1].

        Raises:
            UsageError: The images are integers.
        """
        if not images_nchw.is_floating_point():
            raise UsageError(
                f"images must be floats in [0, 1], got {images_nchw.dtype}; divide values of 0 to 255 by 255"
            )
        logits_nk: Tensor = self.net((images_nchw - self.mean) / self.std)
        return logits_nk


def _is_among(name: str, layer: nn.Module, tensors: Collection[str]) -> bool:
    """Return True if a layer has tensors, and all of them are among these."""
    own = [f"{name}.{inner}" for inner in layer.state_dict()] if name else []
    return bool(own) and all(each in tensors for each in own)
