"""Convolutions with PyTorch's padding, and the convolution - batch norm - ReLU that segmentation heads are built of."""

from __future__ import annotations

import math

from mindspore import Tensor, nn, ops
from mindspore.common.initializer import HeNormal, Initializer, Normal

from ms_seg.cells.norm import BatchNorm2d


def fan_out_normal(kernel: int, out_channels: int, groups: int = 1) -> Initializer:
    """Normal with variance 2 / fan_out, the initialisation of convolutions in vision transformers."""
    return Normal(math.sqrt(2.0 * groups / (kernel * kernel * out_channels)))


class Conv2d(nn.Conv2d):
    """A 2-D convolution padded by zeros on both sides, `padding` wide, as PyTorch counts it.

    (N, in_channels, H, W) -> (N, out_channels, (H + 2 padding - kernel) // stride + 1, likewise for W).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        bias: bool = True,
        weight_init: Initializer | None = None,
    ):
        super().__init__(
            in_channels,
            out_channels,
            kernel,
            stride,
            pad_mode="pad",
            padding=padding,
            group=groups,
            has_bias=bias,
            weight_init=weight_init or fan_out_normal(kernel, out_channels, groups),
            bias_init="zeros",
        )


class ConvNormReLU(nn.Cell):
    """A 1x1 convolution without bias, batch norm, ReLU: (N, in_channels, H, W) -> (N, out_channels, H, W)."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = Conv2d(in_channels, out_channels, 1, bias=False, weight_init=HeNormal(mode="fan_out"))
        self.norm = BatchNorm2d(out_channels)

    def construct(self, x: Tensor) -> Tensor:
        return ops.relu(self.norm(self.conv(x)))
