"""Define convolutions with a faster weight gradient for small images on a CPU."""

# N images, C input channels, O output channels, H rows, W columns, K images side by side

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from imgrec.cpu_features import has_amx

_ROW = 32  # pixels that a row should have: oneDNN's weight gradient sums over rows, in tiles of 32 bfloat16 numbers
_WIDEST = 9  # largest width of a small image: three fit into a row
_NARROW = 16  # channels of a block of oneDNN's with AVX-512; with AVX2 they are 8
_WIDEST_WITHOUT_TILES = 3  # on a CPU without AMX, where joining wider images is not faster, or is slower


class SmallImageConv(nn.Conv2d):
    """A convolution of 3x3 with padding 1, or of 1x1, with stride 1 and no bias: (N, C, H, W) -> (N, O, H, W).

    Its values are those of nn.Conv2d. In training in bfloat16 on a CPU, the weight gradient of small images is computed
    differently. For 3x3, it is computed over several images side by side, with a column of zeros between them: up to 9
    pixels wide with AMX (in half the time at 7 pixels and a fifth at 3) and up to 3 without. For 1x1, up to 9 pixels
    wide, it is computed as a single product of matrices (experiments/speed/README.md).

    Raises:
        ValueError: The kernel size is neither 1 nor 3.
    """

    def __init__(self, inputs: int, outputs: int, *, kernel_size: int) -> None:
        if kernel_size not in (1, 3):
            raise ValueError(f"kernel_size must be 1 or 3, got {kernel_size}")
        super().__init__(inputs, outputs, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, images_nchw: Tensor) -> Tensor:
        """Convolve. In evaluation the custom function is not used, so that every exporter sees a plain convolution."""
        if not self.training or images_nchw.device.type != "cpu" or not torch.is_grad_enabled():
            return super().forward(images_nchw)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else images_nchw.dtype
        if dtype != torch.bfloat16 or not self._is_faster(images_nchw.shape[3]):
            return super().forward(images_nchw)
        return cast(Tensor, _Convolution.apply(images_nchw.to(dtype), self.weight.to(dtype)))

    def _is_faster(self, width: int) -> bool:
        return width <= _WIDEST if self.kernel_size == (1, 1) else side_by_side(width) > 1


def for_small_images(module: nn.Module) -> nn.Module:
    """Replace every suitable convolution inside the module by a SmallImageConv; names and parameters stay the same."""
    for name, child in module.named_children():
        if type(child) is nn.Conv2d and _is_replaceable(child):
            with torch.device("meta"):  # new weights would cost time, and their random draws would change later layers
                exchanged = SmallImageConv(child.in_channels, child.out_channels, kernel_size=child.kernel_size[0])
            exchanged.weight = child.weight
            setattr(module, name, exchanged.train(child.training))
        else:
            for_small_images(child)
    return module


class NarrowStridedConv(nn.Conv2d):
    """A 1x1 convolution with a stride, of fewer than 16 input channels: (N, C, H, W) -> (N, O, H', W').

    It takes the pixels first, and convolves them with stride 1. oneDNN, as PyTorch 2.14 has it, writes past its memory
    in the weight gradient of such convolutions of channels-last images (github.com/uxlfoundation/oneDNN/issues/6035).
    """

    def forward(self, images_nchw: Tensor) -> Tensor:
        down, right = self.stride
        return F.conv2d(images_nchw[:, :, ::down, ::right], self.weight, self.bias, groups=self.groups)


def without_narrow_strides(module: nn.Module) -> nn.Module:
    """Replace every such convolution inside the module by a NarrowStridedConv; names and parameters stay the same."""
    for name, child in module.named_children():
        if type(child) is nn.Conv2d and _is_narrow_and_strided(child):
            with torch.device("meta"):
                exchanged = NarrowStridedConv(
                    child.in_channels,
                    child.out_channels,
                    kernel_size=1,
                    stride=child.stride,  # type: ignore[arg-type] # pairs, as PyTorch keeps them
                    groups=child.groups,
                    bias=child.bias is not None,
                )
            exchanged.weight, exchanged.bias = child.weight, child.bias
            setattr(module, name, exchanged.train(child.training))
        else:
            without_narrow_strides(child)
    return module


def _is_narrow_and_strided(layer: nn.Conv2d) -> bool:
    shape = layer.kernel_size == (1, 1) and layer.padding in ((0, 0), "valid") and layer.stride != (1, 1)
    return shape and layer.in_channels // layer.groups < _NARROW


def _is_replaceable(layer: nn.Conv2d) -> bool:
    plain = layer.bias is None and layer.groups == 1 and layer.padding_mode == "zeros"
    known = (layer.kernel_size, layer.padding) in (((3, 3), (1, 1)), ((1, 1), (0, 0)))
    return plain and known and layer.stride == layer.dilation == (1, 1)


def side_by_side(width: int) -> int:
    """Return how many images of this width to join into a row; 1 where joining has no advantage."""
    widest = _WIDEST if has_amx() else _WIDEST_WITHOUT_TILES
    return _ROW // (width + 1) if width <= widest else 1


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images_nchw: Tensor, weight_ochw: Tensor) -> Tensor:
        ctx.save_for_backward(images_nchw, weight_ochw)
        return F.conv2d(images_nchw, weight_ochw, padding=weight_ochw.shape[2] // 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient_nohw: Tensor) -> tuple[Tensor | None, Tensor | None]:
        images_nchw, weight_ochw = ctx.saved_tensors
        for_images = for_weight = None
        if ctx.needs_input_grad[0]:
            for_images = _backward(gradient_nohw, images_nchw, weight_ochw, of="images")
        if ctx.needs_input_grad[1]:
            if weight_ochw.shape[2] == 1:
                product_oc = _pixels(gradient_nohw).T @ _pixels(images_nchw)
                for_weight = product_oc[:, :, None, None]
            else:
                k = side_by_side(images_nchw.shape[3])
                for_weight = _backward(_joined(gradient_nohw, k), _joined(images_nchw, k), weight_ochw, of="weight")
        return for_images, for_weight


def _pixels(images_nchw: Tensor) -> Tensor:
    """Return (N H W, C): a view of channels-last images."""
    return images_nchw.permute(0, 2, 3, 1).flatten(0, 2)


def _joined(images_nchw: Tensor, k: int) -> Tensor:
    """Return rows of k images, each followed by a column of zeros: (ceil(N / k), C, H, k (W + 1)), channels last."""
    n, c, h, w = images_nchw.shape
    rows = -(-n // k)
    joined = images_nchw.new_zeros(rows, h, k, w + 1, c)
    images_nhwc = images_nchw.permute(0, 2, 3, 1)
    whole = n // k
    joined[:whole, :, :, :w] = images_nhwc[: whole * k].reshape(whole, k, h, w, c).transpose(1, 2)
    if rest := n - whole * k:
        joined[whole, :, :rest, :w] = images_nhwc[whole * k :].transpose(0, 1)
    return joined.view(rows, h, k * (w + 1), c).permute(0, 3, 1, 2)


def _backward(gradient_nohw: Tensor, images_nchw: Tensor, weight_ochw: Tensor, *, of: str) -> Tensor:
    padding = weight_ochw.shape[2] // 2
    gradients = torch.ops.aten.convolution_backward(
        gradient_nohw,
        images_nchw,
        weight_ochw,
        None,
        stride=[1, 1],
        padding=[padding, padding],
        dilation=[1, 1],
        transposed=False,
        output_padding=[0, 0],
        groups=1,
        output_mask=[of == "images", of == "weight", False],
    )
    return cast(Tensor, gradients[0 if of == "images" else 1])
