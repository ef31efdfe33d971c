"""Pictures and feature maps cut into tokens."""

from __future__ import annotations

from mindspore import Tensor, nn

from ms_seg.cells.conv import Conv2d, fan_in_uniform
from ms_seg.cells.norm import LayerNorm
from ms_seg.cells.tokens import map_to_tokens


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
    """Patches that overlap, so that neighbours stay related: a strided convolution and LayerNorm.

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
