"""Convolutions whose weight gradient keeps a CPU's matrix units busy on small images."""

# N images, C input channels, O output channels, H rows, W columns, K images side by side

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_ROW = 32  # pixels that a row should have: oneDNN's weight gradient sums over rows, in tiles of 32 bfloat16 numbers


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution, stride 1, padding 1, no bias: (N, C, H, W) -> (N, O, H, W).

    Its values are nn.Conv2d's. In training in bfloat16 on a CPU the weight gradient of images up to 9 pixels wide is
    summed over several images laid side by side, a column of zeros between them: the same sum in another order, in
    half the time at 7 pixels and a fifth at 3 (experiments/speed/README.md).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, kernel_size=3, padding=1, bias=False)

    def forward(self, images_nchw: Tensor) -> Tensor:
        """Not through the function in evaluation, so that every exporter sees a plain convolution."""
        if not self.training or images_nchw.device.type != "cpu" or not torch.is_grad_enabled():
            return super().forward(images_nchw)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else images_nchw.dtype
        if dtype != torch.bfloat16 or side_by_side(images_nchw.shape[3]) < 2:
            return super().forward(images_nchw)
        return cast(Tensor, _SideBySide.apply(images_nchw.to(dtype), self.weight.to(dtype)))


def with_faster_gradients(module: nn.Module) -> nn.Module:
    """The same module with every fitting convolution in it made a `Conv3x3`, under the same names and parameters."""
    for name, child in module.named_children():
        if type(child) is nn.Conv2d and _fits(child):
            faster = Conv3x3(child.in_channels, child.out_channels)
            faster.weight = child.weight
            setattr(module, name, faster)
        else:
            with_faster_gradients(child)
    return module


def _fits(layer: nn.Conv2d) -> bool:
    plain = layer.bias is None and layer.groups == 1 and layer.padding_mode == "zeros"
    return plain and (layer.kernel_size, layer.stride, layer.padding, layer.dilation) == (
        (3, 3),
        (1, 1),
        (1, 1),
        (1, 1),
    )


def side_by_side(width: int) -> int:
    """How many images of this width make a row long enough; 1 where a row of one image is as good."""
    images = _ROW // (width + 1)
    return images if images >= 3 else 1


class _SideBySide(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images_nchw: Tensor, weight_ochw: Tensor) -> Tensor:
        ctx.save_for_backward(images_nchw, weight_ochw)
        return F.conv2d(images_nchw, weight_ochw, padding=1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient_nohw: Tensor) -> tuple[Tensor | None, Tensor | None]:
        images_nchw, weight_ochw = ctx.saved_tensors
        for_images = for_weight = None
        if ctx.needs_input_grad[0]:
            for_images = _backward(gradient_nohw, images_nchw, weight_ochw, of="images")
        if ctx.needs_input_grad[1]:
            k = side_by_side(images_nchw.shape[3])
            for_weight = _backward(_joined(gradient_nohw, k), _joined(images_nchw, k), weight_ochw, of="weight")
        return for_images, for_weight


def _joined(images_nchw: Tensor, k: int) -> Tensor:
    """Rows of k images, each followed by a column of zeros: (ceil(N / k), C, H, k (W + 1)), channels last."""
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
    gradients = torch.ops.aten.convolution_backward(
        gradient_nohw,
        images_nchw,
        weight_ochw,
        None,
        stride=[1, 1],
        padding=[1, 1],
        dilation=[1, 1],
        transposed=False,
        output_padding=[0, 0],
        groups=1,
        output_mask=[of == "images", of == "weight", False],
    )
    return cast(Tensor, gradients[0 if of == "images" else 1])
