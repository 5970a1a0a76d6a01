"""Adapt torchvision's VGG to small images."""

# N images, C channels, S the image's side, K classes

from typing import cast

from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers


class Vgg16(nn.Module):
    """VGG's sixteen-layer column D (Simonyan & Zisserman 2015, table 1) with batch normalisation and one linear layer.

    The thirteen convolutions with five poolings are torchvision's, and so is their initialisation. The mean of each
    feature, which is one pixel for images of 32 px, goes to the classes: the two hidden layers of 4096 units are left
    out.

    Forward: (N, C, S, S), S >= 32 -> logits (N, K).
    """

    def __init__(self, *, num_classes: int, channels: int) -> None:
        super().__init__()
        self.features = make_layers(cfgs["D"], batch_norm=True)
        if channels != 3:
            self.features[0] = nn.Conv2d(channels, 64, kernel_size=3, padding=1)
        self.classes = nn.Linear(512, num_classes)
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(cast(Tensor, layer.bias))
        nn.init.normal_(self.classes.weight, std=0.01)
        nn.init.zeros_(self.classes.bias)

    def forward(self, images_nchw: Tensor) -> Tensor:
        logits_nk: Tensor = self.classes(self.features(images_nchw).mean(dim=(2, 3)))
        return logits_nk
