"""Define residual networks that normalise and activate before each convolution: pre-activation and wide ones.

He et al. 2016, "Identity mappings in deep residual networks" (arXiv 1603.05027); Zagoruyko & Komodakis 2016 (arXiv
1605.07146).
"""

# N images, C channels, H height, W width, K classes

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from imgrec.models import stochastic_depth
from imgrec.models.convolution import for_small_images


class PreactResnet(nn.Module):
    """A 3x3 convolution, stages of pre-activated basic blocks, the mean of each feature, and the classes.

    Every stage but the first halves the image. A block is twice batch normalisation, ReLU and a 3x3 convolution, around
    which its input is added. Where the shape changes, a 1x1 convolution of the activated input is added instead. The
    first block adds its activated input, and the last one's output is normalised and activated (arXiv 1603.05027,
    appendix). Convolutions are initialised as torchvision's residual networks (He et al. 2015, by outgoing
    connections).

    Forward: (N, C, H, W) -> logits (N, K).

    Args:
        stem: The output channels of the first convolution.
        widths: The output channels of each stage.
        blocks: The blocks of each stage.
        dropout: The probability of dropping a value between the convolutions of a block.
        drop_path: The probability of leaving out the last block, see `stochastic_depth`.
        num_classes: K.
        channels: C.
    """

    def __init__(
        self,
        *,
        stem: int,
        widths: Sequence[int],
        blocks: int,
        dropout: float,
        drop_path: float,
        num_classes: int,
        channels: int,
    ) -> None:
        super().__init__()
        self.stem = _convolution(channels, stem, kernel=3)
        inputs = [stem, *(width for width in widths for _ in range(blocks))]
        left_out = stochastic_depth.probabilities(len(inputs) - 1, drop_path)
        self.blocks = nn.Sequential(
            *(
                _Block(
                    before,
                    outputs,
                    stride=2 if index % blocks == 0 and index > 0 else 1,
                    dropout=dropout,
                    drop_path=left_out[index],
                    first=index == 0,
                )
                for index, (before, outputs) in enumerate(pairwise(inputs))
            )
        )
        self.norm = nn.BatchNorm2d(widths[-1])
        self.classes = nn.Linear(widths[-1], num_classes)
        for_small_images(self)

    def forward(self, images_nchw: Tensor) -> Tensor:
        values = F.relu(self.norm(self.blocks(self.stem(images_nchw))))
        logits_nk: Tensor = self.classes(values.mean(dim=(2, 3)))
        return logits_nk


class _Block(nn.Module):
    def __init__(
        self, inputs: int, outputs: int, *, stride: int, dropout: float, drop_path: float, first: bool
    ) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = _convolution(inputs, outputs, kernel=3, stride=stride)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.conv2 = _convolution(outputs, outputs, kernel=3)
        self.drop_path = stochastic_depth.layer(drop_path)
        changes = inputs != outputs or stride != 1
        self.shortcut = _convolution(inputs, outputs, kernel=1, stride=stride) if changes else nn.Identity()
        self.adds_activated = first or changes

    def forward(self, values: Tensor) -> Tensor:
        activated = F.relu(self.norm1(values))
        shortcut: Tensor = self.shortcut(activated if self.adds_activated else values)
        inner: Tensor = self.drop_path(self.conv2(self.dropout(F.relu(self.norm2(self.conv1(activated))))))
        return inner + shortcut


def _convolution(inputs: int, outputs: int, *, kernel: int, stride: int = 1) -> nn.Conv2d:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution
