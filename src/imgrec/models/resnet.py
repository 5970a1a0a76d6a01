"""Adapt torchvision's residual networks to small images and other classes."""

# N images, C channels, H height, W width, K classes, D features

from typing import Any

import torchvision
from torch import Tensor, nn

from imgrec.errors import UsageError
from imgrec.models import stochastic_depth
from imgrec.models.convolution import for_small_images
from imgrec.models.pretrained import state_dict as weights_of


class Resnet(nn.Module):
    """torchvision's ResNet (He et al. 2016) up to the pooled features, then one linear layer for the classes.

    Forward: (N, C, H, W) -> logits (N, K).

    Args:
        architecture: Torchvision's name of it.
        stem: `cifar`: the first convolution is 3x3 with stride 1 and there is no max-pool, so that images of 32 px
            reach the residual stages at 32x32 (He et al. 2016, section 4.2). `imagenet`: as published, 7x7, stride 2,
            max-pool.
        pretrained: True for ImageNet weights in all layers but the last, by `pretrained.state_dict`.
        freeze_backbone: True to train only the last layer. The backbone stays in evaluation mode, so that its batch
            normalisations keep their statistics. Gradients still reach the image, as attacks need them.
        drop_path: The probability of leaving out the last block, see `stochastic_depth`.
        num_classes: K.
        channels: C.
        fetch: False to build without pretrained weights, for a network whose weights come from a checkpoint.

    Raises:
        UsageError: Pretrained weights are wanted for other than 3 channels.
    """

    def __init__(
        self,
        *,
        architecture: str,
        stem: str,
        pretrained: bool,
        freeze_backbone: bool,
        drop_path: float,
        num_classes: int,
        channels: int,
        fetch: bool = True,
    ) -> None:
        super().__init__()
        if pretrained and channels != 3:
            raise UsageError(
                f"model.pretrained=true needs images of 3 channels, got {channels}; set model.pretrained=false"
            )
        backbone: Any = torchvision.models.get_model(architecture, weights=None)
        features: int = backbone.fc.in_features
        stages = (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4)
        stochastic_depth.of_basic_blocks([block for stage in stages for block in stage], drop_path)
        if pretrained and fetch:
            backbone.load_state_dict(weights_of(architecture))
        if stem == "cifar":
            # stride 1, no pooling: a 7x7/2 stem and its max-pool reduce 32 px images to 8x8 before the first block
            backbone.conv1 = _stem(channels, kernel=3, stride=1)
            backbone.maxpool = nn.Identity()
        elif channels != 3:
            backbone.conv1 = _stem(channels, kernel=7, stride=2)
        backbone.fc = nn.Identity()
        for_small_images(backbone)
        self.frozen = freeze_backbone
        self.backbone: nn.Module = backbone.requires_grad_(not self.frozen)
        self.classes = nn.Linear(features, num_classes)
        self.train()

    def forward(self, images_nchw: Tensor) -> Tensor:
        logits_nk: Tensor = self.classes(self.backbone(images_nchw))
        return logits_nk

    def train(self, mode: bool = True) -> "Resnet":
        """Set the mode as nn.Module.train does, but keep a frozen backbone in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self


def _stem(channels: int, *, kernel: int, stride: int) -> nn.Conv2d:
    """Return the first convolution, initialised as torchvision's others (He et al. 2015, by outgoing connections)."""
    conv = nn.Conv2d(channels, 64, kernel_size=kernel, stride=stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv
