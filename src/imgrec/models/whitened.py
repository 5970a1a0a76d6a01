"""Define a convolutional network that learns in few epochs: a whitening first layer, and identity initialisation.

Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU" (arXiv 2404.00498), sections 3.1 to 3.3.
"""

# N images, C channels, S the image's side, K classes, P values of a patch

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from imgrec.models.activation import activation as named
from imgrec.models.convolution import SmallImageConv

_EPS = 5e-4  # added to the patches' variances (Jordan 2024, section 3.2): so flat directions do not become noise
_AT_ONCE = 100  # images whose patches are in memory at a time: 0.1 GB for patches of 7x7 at 32 px


class WhitenedCnn(nn.Module):
    """A whitening layer, stages that halve the image, the maximum of each feature, and the classes.

    The whitening layer's filters are fixed, see `initialise`. Its bias keeps its random initial value, PyTorch's +-1 /
    sqrt(P), which makes a filter differ from its negative. Unlike the paper's it does not train, so no gradient is
    propagated back to it. A stage is a 3x3 convolution, 2x2 max-pooling, batch normalisation and activation, then
    further convolutions with batch normalisation and activation. With `residual`, the output of the pooling part is
    added before the last activation (airbench96, after Jordan 2024, section 4). Batch normalisations have no scale, as
    the next layer can replace it.

    Forward: (N, C, S, S), S >= 2 ** stages + whiten_kernel - 1, normalised -> logits (N, K).
    """

    def __init__(
        self,
        *,
        widths: Sequence[int],
        depth: int,
        residual: bool,
        activation: str,
        whiten_kernel: int,
        norm_momentum: float,
        num_classes: int,
        channels: int,
    ) -> None:
        super().__init__()
        patch = channels * whiten_kernel**2
        self.whiten = nn.Conv2d(channels, 2 * patch, whiten_kernel).requires_grad_(False)
        self.activation = named(activation)
        self.stages = nn.ModuleList(
            _Stage(depth, inputs=before, outputs=width, act=activation, residual=residual, momentum=norm_momentum)
            for before, width in zip([2 * patch, *widths[:-1]], widths, strict=True)
        )
        self.classes = nn.Linear(widths[-1], num_classes, bias=False)
        nn.init.normal_(self.classes.weight)
        self.scale = 1 / widths[-1]

    @torch.no_grad()
    def initialise(self, images_nchw: Tensor) -> None:
        """Set the whitening filters from training images: the eigenvectors of their patches, scaled to variance 1.

        Every eigenvector is used with both signs, as the activation passes only one of them. images_nchw: normalised.
        """
        k = self.whiten.kernel_size[0]
        size = images_nchw.shape[1] * k * k
        moments_pp, count = torch.zeros(size, size, dtype=torch.float64, device=images_nchw.device), 0
        for some_nchw in torch.split(images_nchw, _AT_ONCE):
            patches = some_nchw.unfold(2, k, 1).unfold(3, k, 1)  # (N, C, rows, columns, k, k)
            patches_np = patches.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).flatten(1).double()
            moments_pp += patches_np.T @ patches_np
            count += len(patches_np)
        variances_p, vectors_pp = torch.linalg.eigh(moments_pp / count)
        filters_pp = (vectors_pp / (variances_p + _EPS).sqrt()).T
        filters = filters_pp.reshape(-1, images_nchw.shape[1], k, k)
        self.whiten.weight.copy_(torch.cat([filters, -filters]))

    def forward(self, images_nchw: Tensor) -> Tensor:
        values = self.activation(self.whiten(images_nchw))
        for stage in self.stages:
            values = stage(values)
        logits_nk: Tensor = self.classes(values.amax(dim=(2, 3))) * self.scale
        return logits_nk


class _Stage(nn.Module):
    def __init__(self, depth: int, *, inputs: int, outputs: int, act: str, residual: bool, momentum: float) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs)
        self.pool = nn.MaxPool2d(2)
        self.first_norm = _norm(outputs, momentum)
        self.convolutions = nn.ModuleList(_convolution(outputs, outputs) for _ in range(depth - 1))
        self.norms = nn.ModuleList(_norm(outputs, momentum) for _ in range(depth - 1))
        self.activation = named(act)
        self.residual = residual

    def forward(self, values: Tensor) -> Tensor:
        pooled: Tensor = self.activation(self.first_norm(self.pool(self.first(values))))
        values = pooled
        for number, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True), 1):
            values = norm(convolution(values))
            if self.residual and number == len(self.convolutions):
                values = values + pooled
            values = self.activation(values)
        return values


def _convolution(inputs: int, outputs: int) -> SmallImageConv:
    """Return a convolution that is initialised as the identity of its inputs.

    Outputs beyond the number of inputs have PyTorch's initialisation (section 3.3).
    """
    convolution = SmallImageConv(inputs, outputs, kernel_size=3)
    nn.init.dirac_(convolution.weight[: min(inputs, outputs)])
    return convolution


def _norm(features: int, momentum: float) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(features, eps=1e-12, momentum=momentum)
    norm.weight.requires_grad_(False)
    return norm
