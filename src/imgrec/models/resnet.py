"""torchvision's residual networks, fitted to small images and other classes."""

# N images, C channels, H height, W width, K classes, D features

from typing import Any

import torchvision
from torch import Tensor, nn

from imgrec.errors import UsageError
from imgrec.models.convolution import for_small_images
from imgrec.models.pretrained import state_dict as weights_of


class Resnet(nn.Module):
    """torchvision's ResNet (He et al. 2016) up to the pooled features, then one linear layer for the classes.

    architecture: torchvision's name of it.
    stem=cifar: the first convolution is 3x3 with stride 1 and the max-pool is left out, so that 32 px reach the
    residual stages at 32x32 (He et al. 2016, section 4.2). stem=imagenet: as published, 7x7, stride 2, max-pool.
    pretrained: ImageNet weights in everything but the last layer, through `pretrained.state_dict`.
    freeze_backbone: only the last layer trains; the backbone stays in evaluation mode, so that its batch
    normalisations keep their statistics. Its gradient still reaches the image, which attacks need.

    fetch: False leaves the pretrained weights out, for a network that gets its weights from a checkpoint.
    forward: (N, C, H, W) -> logits (N, K). Raises UsageError if pretrained weights meet other than 3 channels.
    """

    def __init__(
        self,
        *,
        architecture: str,
        stem: str,
        pretrained: bool,
        freeze_backbone: bool,
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
        if pretrained and fetch:
            backbone.load_state_dict(weights_of(architecture))
        if stem == "cifar":
            # stride 1, no pooling: a 7x7/2 stem and its max-pool leave 32 px images at 8x8 before the first block
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
        """As nn.Module.train, but a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self


def _stem(channels: int, *, kernel: int, stride: int) -> nn.Conv2d:
    """The first convolution, initialised like torchvision's others (He et al. 2015, by the outgoing connections)."""
    conv = nn.Conv2d(channels, 64, kernel_size=kernel, stride=stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv
