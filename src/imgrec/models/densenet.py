"""Adapt torchvision's DenseNet to small images."""

# N images, C channels, H height, W width, K classes

from torch import nn
from torchvision.models import DenseNet

from imgrec.models.convolution import for_small_images


def densenet_bc(*, depth: int, growth: int, dropout: float, num_classes: int, channels: int) -> nn.Module:
    """Return a DenseNet-BC for small images (Huang et al. 2017, section 3): (N, C, H, W) -> logits (N, K).

    It is torchvision's network with three dense blocks in place of four, and with a 3x3 convolution of 2 * growth
    channels alone in place of the first convolution with its pooling.

    Args:
        depth: The layers with weights, 6 n + 4 for n bottlenecks in a block.
        growth: The channels that each layer adds.
        dropout: The probability of dropping a value that a layer adds.
        num_classes: K.
        channels: C.
    """
    layers = (depth - 4) // 6
    stem = 2 * growth
    net = DenseNet(
        growth_rate=growth,
        block_config=(layers,) * 3,
        num_init_features=stem,
        drop_rate=dropout,
        num_classes=num_classes,
    )
    net.features.conv0 = nn.Conv2d(channels, stem, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(net.features.conv0.weight)  # as torchvision's others
    for name in ("norm0", "relu0", "pool0"):  # each layer of a block begins with normalisation and ReLU itself
        delattr(net.features, name)
    return for_small_images(net)
