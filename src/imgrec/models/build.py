"""From the model axis of the configuration to a network."""

from collections.abc import Sequence

from imgrec.config.model import Model
from imgrec.models.network import Network


def build(
    cfg: Model,
    *,
    num_classes: int,
    image_size: int,
    channels: int,
    mean: Sequence[float],
    std: Sequence[float],
    fetch: bool = True,
) -> Network:
    """The network that `cfg` describes: (N, channels, image_size, image_size) in [0, 1] -> logits (N, num_classes).

    mean, std: the data's, one value a channel; pretrained weights bring the constants that they were trained with.
    fetch: False leaves pretrained weights out, for a network that gets its weights from a checkpoint.
    Raises UsageError for images that do not fit the network, RunError if pretrained weights cannot be had.
    """
    net = cfg.build(num_classes=num_classes, image_size=image_size, channels=channels, fetch=fetch)
    mean, std = cfg.normalisation(mean, std)
    return Network(net, mean=mean, std=std)
