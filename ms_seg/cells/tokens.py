"""Tokens (N, L, C), which attention wants, from pictures and feature maps (N, C, H, W), and back."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.common.initializer import Initializer

from ms_seg.cells import native
from ms_seg.cells.conv import Conv2d, fan_in_uniform
from ms_seg.cells.linear import NativeLinear
from ms_seg.cells.norm import LayerNorm
from ms_seg.cells.precision import in_float32


class MapToTokens(nn.Cell):
    """(N, C, H, W) -> (N, H*W, C), row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.swap = SwapAxes()

    def construct(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return ops.reshape(self.swap(ops.reshape(x, (n, c, h * w, 1))), (n, h * w, c))


class TokensToMap(nn.Cell):
    """(N, H*W, C) -> (N, C, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.swap = SwapAxes()

    def construct(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        n, length, c = x.shape
        return ops.reshape(self.swap(ops.reshape(x, (n, length, c, 1))), (n, c, size[0], size[1]))


class SwapAxes(nn.Cell):
    """(N, A, B, D) -> (N, B, A, D), float32."""

    def __init__(self) -> None:
        super().__init__()
        self.swap = _NativeSwapAxes() if native.available() else _SwapAxes()

    def construct(self, x: Tensor) -> Tensor:
        return self.swap(x)


class _SwapAxes(nn.Cell):
    def construct(self, x: Tensor) -> Tensor:
        return ops.transpose(x, (0, 2, 1, 3))


class _NativeSwapAxes(nn.Cell):
    """On the CPU MindSpore's own keeps 8 bytes for each element, grown by doubling, for as long as its graph lives:
    2.5 GB in a ViT-Adapter at 896x896. On one core 12544 x 1024 take 15 ms instead of 87, the other way 15 instead of
    22, and 12544 x 32 heads of 32 channels 6 instead of 18.
    """

    def __init__(self) -> None:
        super().__init__()
        back = native.operator("swap_axes", 1)

        def bprop(x: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor]:
            return (back(dout),)

        self.swap = native.operator("swap_axes", 1, bprop)

    def construct(self, x: Tensor) -> Tensor:
        return self.swap(x)


def add_vector(x: Tensor, vector: Tensor) -> Tensor:
    """(..., C) + (C).

    On the CPU a sum of two shapes leaves 16 bytes for each of its elements behind for as long as its graph lives, a
    bias nothing.
    """
    return ops.reshape(ops.bias_add(ops.reshape(x, (-1, x.shape[-1])), vector), x.shape)


class ConvToTokens(Conv2d):
    """A convolution whose output is tokens: (N, in_channels, H, W) -> (N, H' * W', out_channels), their grid (H', W').

    Arguments: Conv2d's, with bias and without groups.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int,
        padding: int = 0,
        weight_init: Initializer | None = None,
    ):
        super().__init__(in_channels, out_channels, kernel, stride, padding, weight_init=weight_init)
        self.to_tokens = MapToTokens()
        self.native = _NativeConvToTokens(kernel, stride, padding) if native.available() else None

    def construct(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        if self.native is not None and not self.training and in_float32():
            x = self.native(x, self.weight, self.bias)
            return ops.reshape(x, (x.shape[0], -1, x.shape[3])), x.shape[1:3]
        x = super().construct(x)
        return self.to_tokens(x), x.shape[2:]


class TokenConv(Conv2d):
    """A convolution of tokens: (N, H, W, in_channels) -> (N, H' * W', out_channels).

    Arguments: Conv2d's, with bias and without padding and groups.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int):
        super().__init__(in_channels, out_channels, kernel, stride)
        self.to_map, self.to_tokens = TokensToMap(), MapToTokens()
        self.native = _NativeTokenConv(kernel, stride) if native.available() else None

    def construct(self, x: Tensor) -> Tensor:
        n, height, width, channels = x.shape
        if self.native is not None and not self.training and in_float32():
            x = self.native(x, self.weight, self.bias)
            return ops.reshape(x, (n, -1, x.shape[3]))
        x = self.to_map(ops.reshape(x, (n, height * width, channels)), (height, width))
        return self.to_tokens(super().construct(x))


class _NativeConvToTokens(nn.Cell):
    """x (N, C, H, W), weight (O, C, kernel, kernel), bias (O) -> (N, H', W', O): patches, and a product with them."""

    def __init__(self, kernel: int, stride: int, padding: int):
        super().__init__()
        self.geometry = Tensor(np.zeros((kernel, stride, 1 + padding), np.float32))
        gradient = native.gradient("patches_grad", of=1)

        def bprop(x: Tensor, geometry: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
            return gradient(x, geometry, dout), ops.zeros_like(geometry)

        self.patches = native.operator("patches", 2, bprop)
        self.linear = NativeLinear()

    def construct(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self.linear(self.patches(x, self.geometry), weight, bias)


class _NativeTokenConv(nn.Cell):
    """x (N, H, W, C), weight (O, C, kernel, kernel), bias (O) -> (N, H', W', O)."""

    def __init__(self, kernel: int, stride: int):
        super().__init__()
        self.geometry = Tensor(np.zeros((kernel, stride, 1), np.float32))
        gradient = native.gradient("patches_grad", of=1)

        def bprop(x: Tensor, geometry: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
            of_map = gradient(ops.transpose(x, (0, 3, 1, 2)), geometry, dout)
            return ops.transpose(of_map, (0, 2, 3, 1)), ops.zeros_like(geometry)

        self.patches = native.operator("token_patches", 2, bprop)
        self.linear = NativeLinear()

    def construct(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self.linear(self.patches(x, self.geometry), weight, bias)


class PatchEmbed(nn.Cell):
    """Square patches side by side, `patch` pixels wide, each of them a token.

    (N, in_channels, H, W) -> tokens (N, H' * W', channels) and their grid (H', W') = (H, W) / patch, rounded down.
    arXiv:2010.11929, equation 1.
    """

    def __init__(self, in_channels: int, channels: int, patch: int):
        super().__init__()
        self.proj = ConvToTokens(in_channels, channels, patch, stride=patch, weight_init=fan_in_uniform())

    def construct(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        return self.proj(x)


class OverlapPatchEmbed(nn.Cell):
    """Overlapping patches, which keep neighbours related: a strided convolution and LayerNorm.

    (N, in_channels, H, W) -> tokens (N, H' * W', channels) and their grid (H', W'), H' = ceil(H / stride).
    SegFormer, section 3.1 (arXiv:2105.15203).
    """

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int, norm_eps: float):
        super().__init__()
        self.proj = ConvToTokens(in_channels, channels, kernel, stride, padding=kernel // 2)
        self.norm = LayerNorm(channels, norm_eps)

    def construct(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        x, grid = self.proj(x)
        return self.norm(x), grid
