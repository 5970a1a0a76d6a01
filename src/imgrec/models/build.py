"""Build a network from the model axis of the configuration, and what runs it in training."""

from collections.abc import Callable, Sequence, Sized

from torch import Tensor

from imgrec.config.model import Model
from imgrec.config.root import Config
from imgrec.models.compiled import Compiled
from imgrec.models.convolution import without_narrow_strides
from imgrec.models.graphed import Graphed
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
    """Build the network that `cfg` describes.

    It maps images (N, channels, image_size, image_size) in [0, 1] to logits (N, num_classes).

    Args:
        cfg: The configuration.
        num_classes: K.
        image_size: Pixels along each side.
        channels: The images' channels.
        mean: The data's, one value for each channel; pretrained weights replace it by the value of their training.
        std: As `mean`.
        fetch: False to build without pretrained weights, for a network whose weights come from a checkpoint.

    Raises:
        UsageError: The images do not fit the network.
        RunError: Pretrained weights are not available.
    """
    net = cfg.build(num_classes=num_classes, image_size=image_size, channels=channels, fetch=fetch)
    without_narrow_strides(net)
    mean, std = cfg.normalisation(mean, std)
    return Network(net, mean=mean, std=std)


def runs_as(config: Config, network: Network, images: Sized) -> Callable[[Tensor], Tensor] | None:
    """Return what runs the network in its own place, as trainer.compile or trainer.graphs asks for; None for nothing.

    Args:
        config: The configuration.
        network: The network.
        images: The training images.
    """
    if not (config.trainer.compile or config.trainer.graphs):
        return None
    whole_batch = min(config.data.batch_size, -(-len(images) // config.trainer.processes))
    return (Graphed if config.trainer.graphs else Compiled)(network, batch_size=whole_batch)
