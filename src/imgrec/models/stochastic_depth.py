"""Leave out residual branches in training: stochastic depth (Huang et al. 2016, arXiv 1603.09382)."""

from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck
from torchvision.models.vision_transformer import EncoderBlock
from torchvision.ops import StochasticDepth

_ROW = "row"  # drawn for each image; the paper draws for each batch


def probabilities(blocks: int, last: float) -> list[float]:
    """Return the probability of leaving out each block: the last one's, falling linearly to the input (equation 4)."""
    return [last * number / blocks for number in range(1, blocks + 1)]


def layer(probability: float) -> nn.Module:
    """Return a layer without parameters that sets random images of a batch to zero in training, and scales the others.

    They are scaled by 1 / (1 - probability), so that evaluation needs no scaling.
    """
    return StochasticDepth(probability, _ROW) if probability else nn.Identity()


def of_basic_blocks(blocks: Iterable[nn.Module], last: float) -> None:
    """Let torchvision's residual blocks leave out their branch. Parameters keep their names and values.

    Args:
        blocks: The blocks, from the input on.
        last: The probability of leaving out the last one; 0 changes nothing.
    """
    if not last:
        return
    chosen = list(blocks)
    for block, probability in zip(chosen, probabilities(len(chosen), last), strict=True):
        name = "bn3" if isinstance(block, Bottleneck) else "bn2"
        norm = getattr(block, name)
        setattr(block, name, DroppedNorm(norm.num_features, probability))


def of_encoder(blocks: Iterable[nn.Module], last: float) -> None:
    """Let torchvision's transformer blocks leave out both of their branches, each for images of its own.

    Args:
        blocks: The blocks, from the input on.
        last: As in `of_basic_blocks`.
    """
    if not last:
        return
    chosen = [block for block in blocks if isinstance(block, EncoderBlock)]
    for block, probability in zip(chosen, probabilities(len(chosen), last), strict=True):
        block.dropout = nn.Sequential(block.dropout, layer(probability))
        block.mlp[-1] = nn.Sequential(block.mlp[-1], layer(probability))


class DroppedNorm(nn.BatchNorm2d):
    """The batch normalisation at the end of a branch, which leaves out the branch. It is one layer so that names stay.

    Forward: (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(self, features: int, probability: float) -> None:
        super().__init__(features)
        self.drop_path = layer(probability)  # in a mode of its own, as statistics may be counted without it

    def forward(self, values: Tensor) -> Tensor:
        return cast(Tensor, self.drop_path(super().forward(values)))
