"""Build the network that a configuration names, without weights of others, or only its shapes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from imgrec.config.root import Config
from imgrec.models.build import build
from imgrec.models.network import Network
from imgrec.stored.meta import Meta


def network(
    config: Config, *, classes: int, image_size: int, channels: int, mean: Sequence[float], std: Sequence[float]
) -> Network:
    """Return the network that `model` names, without pretrained weights.

    Args:
        config: The configuration.
        classes: The number of classes.
        image_size: The side of the images, in pixels.
        channels: The channels of the images.
        mean: The mean of each channel of the training images.
        std: The deviation of each channel of the training images.
    """
    return build(
        config.model,
        num_classes=classes,
        image_size=image_size,
        channels=channels,
        mean=mean,
        std=std,
        fetch=False,
    )


def outline(config: Config, *, classes: int = 2, side: int | None = None, channels: int = 3) -> Network:
    """Return the shapes of the network that `model` names, on the meta device.

    Args:
        config: The configuration.
        classes: The number of classes.
        side: The side of the images, in pixels; None for the configuration's.
        channels: The channels of the images.
    """
    with torch.device("meta"):
        return network(
            config,
            classes=classes,
            image_size=config.data.side if side is None else side,
            channels=channels,
            mean=[0.0] * channels,
            std=[1.0] * channels,
        )


def network_of(config: Config, meta: Meta) -> Network:
    """Return the network that `model` names, for the images of a checkpoint."""
    return network(
        config,
        classes=len(meta.classes),
        image_size=meta.image_size,
        channels=meta.channels,
        mean=meta.mean,
        std=meta.std,
    )


def normalises_single_values(config: Config, side: int) -> bool:
    """Return True if one image leaves some batch normalisation a single value per channel, which has no variance.

    A forward pass of shapes only determines this.

    Args:
        config: The configuration.
        side: The side of the image, in pixels.
    """
    alone = False

    def look(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal alone
        alone = alone or (layer.training and inputs[0][0, 0].numel() == 1)

    with torch.device("meta"), torch.no_grad():
        shapes = outline(config, side=side)
        for layer in shapes.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.register_forward_pre_hook(look)
        shapes.train()(torch.empty(2, 3, side, side))
    return alone
