"""Adapt torchvision's vision transformer to small images."""

# N images, C channels, S the image's side, K classes

import math
from typing import cast

from torch import Tensor, nn
from torchvision.models import VisionTransformer

from imgrec.models import stochastic_depth


def vit_small(
    *, patch: int, dropout: float, drop_path: float, num_classes: int, image_size: int, channels: int
) -> nn.Module:
    """Return a small vision transformer: (N, C, S, S) -> logits (N, K).

    It is torchvision's class (Dosovitskiy et al. 2021, section 3.1), whose last layer begins at zero, with the width,
    depth and heads of DeiT-S (Touvron et al. 2021, table 1).

    Args:
        patch: The side of a patch, in pixels.
        dropout: The probability of dropping a value, of the embedding and in each block.
        drop_path: The probability of leaving out the last block's branches, see `stochastic_depth`.
        num_classes: K.
        image_size: S, a multiple of patch.
        channels: C.
    """
    net = VisionTransformer(
        image_size=image_size,
        patch_size=patch,
        num_layers=12,
        num_heads=6,
        hidden_dim=384,
        mlp_dim=4 * 384,
        dropout=dropout,
        num_classes=num_classes,
    )
    stochastic_depth.of_encoder(net.encoder.layers, drop_path)
    if channels != 3:
        patches = nn.Conv2d(channels, 384, kernel_size=patch, stride=patch)
        nn.init.trunc_normal_(patches.weight, std=math.sqrt(1 / (channels * patch**2)))  # as torchvision's
        nn.init.zeros_(cast(Tensor, patches.bias))
        net.conv_proj = patches
    return cast(nn.Module, net)
