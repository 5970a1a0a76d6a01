"""Define the residual networks of He et al. 2016 (arXiv 1512.03385), section 4.2, for images of 32 px."""

# N images, C channels, H height, W width, K classes

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from imgrec.errors import UsageError
from imgrec.models import stochastic_depth
from imgrec.models.convolution import for_small_images

_WIDTHS = (16, 32, 64)


class CifarResnet(nn.Module):
    """A 3x3 convolution, three stages of torchvision's basic blocks, the mean of each feature, and the classes.

    The second and the third stage halve the image. Shortcuts have no parameters (option A of the paper): every second
    pixel, and zeros for the new channels. Convolutions are initialised as torchvision's residual networks (He et al.
    2015, by outgoing connections).

    Forward: (N, C, H, W) -> logits (N, K).

    Args:
        depth: The layers with weights, 6 n + 2 for n blocks in a stage.
        drop_path: The probability of leaving out the last block, see `stochastic_depth`.
        num_classes: K.
        channels: C.

    Raises:
        UsageError: No network has this depth.
    """

    def __init__(self, *, depth: int, drop_path: float, num_classes: int, channels: int) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise UsageError(f"the depth of a residual network for small images must be 6 n + 2, got {depth}")
        self.stem = nn.Conv2d(channels, _WIDTHS[0], 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(_WIDTHS[0])
        inputs = [_WIDTHS[0], *(width for width in _WIDTHS for _ in range(blocks))]
        self.blocks = nn.Sequential(
            *(
                BasicBlock(before, outputs)
                if before == outputs
                else BasicBlock(before, outputs, stride=2, downsample=_Shortcut(outputs - before))
                for before, outputs in pairwise(inputs)
            )
        )
        stochastic_depth.of_basic_blocks(self.blocks, drop_path)
        self.classes = nn.Linear(_WIDTHS[-1], num_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        for_small_images(self)

    def forward(self, images_nchw: Tensor) -> Tensor:
        values = self.blocks(F.relu(self.norm(self.stem(images_nchw))))
        logits_nk: Tensor = self.classes(values.mean(dim=(2, 3)))
        return logits_nk


class _Shortcut(nn.Module):
    def __init__(self, more: int) -> None:
        super().__init__()
        self.more = more

    def forward(self, values: Tensor) -> Tensor:
        return F.pad(values[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.more))
