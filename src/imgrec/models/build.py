"""From the model axis of the configuration to a network."""

from collections.abc import Sequence

from imgrec.config import model as config
from imgrec.models import pretrained
from imgrec.models.cnn import Cnn
from imgrec.models.network import Network
from imgrec.models.resnet import Resnet
from imgrec.models.whitened import WhitenedCnn


def build(
    cfg: config.Model,
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
    match cfg:
        case config.Cnn():
            net = Cnn(cfg, num_classes=num_classes, image_size=image_size, channels=channels)
            return Network(net, mean=mean, std=std)
        case config.WhitenedCnn():
            whitened = WhitenedCnn(cfg, num_classes=num_classes, channels=channels)
            return Network(whitened, mean=mean, std=std)
        case config.Resnet():
            resnet = Resnet(cfg, num_classes=num_classes, channels=channels, fetch=fetch)
            if cfg.pretrained:
                return Network(resnet, mean=pretrained.IMAGENET_MEAN, std=pretrained.IMAGENET_STD)
            return Network(resnet, mean=mean, std=std)
        case _:
            raise TypeError(f"no network is known for {type(cfg).__name__}")
