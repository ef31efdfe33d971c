"""Tokens (N, L, C), which attention wants, from pictures and feature maps (N, C, H, W), and back."""

from __future__ import annotations

from mindspore import Tensor, nn, ops

from ms_seg.cells.conv import Conv2d, fan_in_uniform
from ms_seg.cells.norm import LayerNorm


def map_to_tokens(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H*W, C), row by row."""
    n, c, h, w = x.shape
    return ops.transpose(ops.reshape(x, (n, c, h * w)), (0, 2, 1))


def tokens_to_map(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, H*W, C) -> (N, C, H, W)."""
    n, _, c = x.shape
    return ops.reshape(ops.transpose(x, (0, 2, 1)), (n, c, size[0], size[1]))


def add_vector(x: Tensor, vector: Tensor) -> Tensor:
    """(..., C) + (C).

    On the CPU a sum of two shapes leaves 16 bytes for each of its elements behind for as long as its graph lives, a
    bias nothing.
    """
    return ops.reshape(ops.bias_add(ops.reshape(x, (-1, x.shape[-1])), vector), x.shape)


class PatchEmbed(nn.Cell):
    """Square patches side by side, `patch` pixels wide, each of them a token.

    (N, in_channels, H, W) -> tokens (N, H' * W', channels) and their grid (H', W') = (H, W) / patch, rounded down.
    arXiv:2010.11929, equation 1.
    """

    def __init__(self, in_channels: int, channels: int, patch: int):
        super().__init__()
        self.proj = Conv2d(in_channels, channels, patch, stride=patch, weight_init=fan_in_uniform())

    def construct(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        x = self.proj(x)
        return map_to_tokens(x), x.shape[2:]


class OverlapPatchEmbed(nn.Cell):
    """Overlapping patches, which keep neighbours related: a strided convolution and LayerNorm.

    (N, in_channels, H, W) -> tokens (N, H' * W', channels) and their grid (H', W'), H' = ceil(H / stride).
    SegFormer, section 3.1 (arXiv:2105.15203).
    """

    def __init__(self, in_channels: int, channels: int, kernel: int, stride: int, norm_eps: float):
        super().__init__()
        self.proj = Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2)
        self.norm = LayerNorm(channels, norm_eps)

    def construct(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        x = self.proj(x)
        return self.norm(map_to_tokens(x)), x.shape[2:]
