"""Swin Transformer (arXiv:2103.14030) as a backbone, for pictures of any size, with a norm for each of its maps."""

from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import TruncatedNormal, initializer

from ms_seg.cells.activation import GELU
from ms_seg.cells.conv import Conv2d, fan_in_uniform
from ms_seg.cells.drop import DropPath
from ms_seg.cells.mlp import MLP, Dense
from ms_seg.cells.norm import LayerNorm
from ms_seg.cells.position import arange
from ms_seg.cells.tokens import MapToTokens, TokensToMap
from ms_seg.cells.window_attention import Partition, ShiftedWindowAttention, table_rows, window_partition

NORM_EPS = 1e-5
PATCH_SIZE = 4
LEVELS = 4


class PatchEmbed(nn.Cell):
    """Patches of 4x4 pixels, the last ones padded with zeros: (N, 3, H, W) -> tokens (N, L, channels), their grid."""

    def __init__(self, channels: int):
        super().__init__()
        padding = (0, PATCH_SIZE - 1, 0, PATCH_SIZE - 1)  # bottom and right; whole patches read none of it
        self.proj = Conv2d(3, channels, PATCH_SIZE, stride=PATCH_SIZE, padding=padding, weight_init=fan_in_uniform())
        self.to_tokens = MapToTokens()
        self.norm = LayerNorm(channels, NORM_EPS)

    def construct(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        x = self.proj(images)
        return self.norm(self.to_tokens(x)), x.shape[2:]


class WindowAttention(nn.Cell):
    """Self-attention within windows, with relative position biases: tokens (N, H*W, channels) -> the same.

    Tokens that pad the map to whole windows are zero before the projection to queries, keys and values, and are
    attended to, as in all references. residual: what the result is added to.
    """

    def __init__(self, channels: int, heads: int, window: int, shift: int):
        super().__init__()
        self.qkv = Dense(channels, 3 * channels)
        self.proj = Dense(channels, channels)
        table = initializer(TruncatedNormal(0.02), (table_rows(window), heads))
        self.relative_position_bias_table = Parameter(table)
        self.attend = ShiftedWindowAttention(heads, window, shift)

    def construct(self, x: Tensor, partition: Partition, residual: Tensor | None = None) -> Tensor:
        x = self.attend(self.qkv(x), self.qkv.bias, self.relative_position_bias_table, partition)
        return self.proj(x, residual)


class Block(nn.Cell):
    """Window attention and MLP, each after a LayerNorm and around a residual connection."""

    def __init__(self, channels: int, heads: int, window: int, shift: int, mlp_ratio: float, drop_path: float):
        super().__init__()
        self.norm1 = LayerNorm(channels, NORM_EPS)
        self.attn = WindowAttention(channels, heads, window, shift)
        self.norm2 = LayerNorm(channels, NORM_EPS)
        self.mlp = MLP(channels, int(mlp_ratio * channels), GELU())
        self.drop_path1, self.drop_path2 = DropPath(drop_path), DropPath(drop_path)

    def construct(self, x: Tensor, partition: Partition) -> Tensor:
        if not self.training:  # each sum is made where the branch's last product is
            x = self.attn(self.norm1(x), partition, x)
            return self.mlp(self.norm2(x), x)
        x = x + self.drop_path1(self.attn(self.norm1(x), partition))
        return x + self.drop_path2(self.mlp(self.norm2(x)))


class PatchMerging(nn.Cell):
    """2x2 tokens become one with twice the channels, zeros padding the last ones.

    Tokens (N, H*W, C) -> (N, ceil(H / 2) * ceil(W / 2), 2 C). The four are taken column by column, as in the original;
    mmdetection's weights are for another order of their channels.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.norm = LayerNorm(4 * channels, NORM_EPS)
        self.reduction = Dense(4 * channels, 2 * channels, bias=False)
        self.rows, self.columns = Tensor([0, 1, 0, 1], ms.int32), Tensor([0, 0, 1, 1], ms.int32)

    def construct(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        n, length, channels = x.shape
        height, width = grid
        down, across = (height + 1) // 2, (width + 1) // 2
        y = ops.reshape(arange(down) * 2, (down, 1, 1)) + self.rows
        z = ops.reshape(arange(across) * 2, (across, 1)) + self.columns
        inside = (y < height).astype(ms.int32) * (z < width).astype(ms.int32)
        tokens = inside * (y * width + z - length) + length  # number H*W is the padding
        x = ops.concat((x, ops.zeros((n, 1, channels), x.dtype)), 1)
        x = ops.gather(x, ops.reshape(tokens, (down * across * 4,)), 1)
        return self.reduction(self.norm(ops.reshape(x, (n, down * across, 4 * channels))))


class Stage(nn.Cell):
    """Blocks, every second of which shifts its windows by half their width: tokens (N, H*W, C) -> the same."""

    def __init__(
        self,
        channels: int,
        heads: int,
        window: int,
        mlp_ratio: float,
        drop_paths: Sequence[float],
        downsample: bool,
    ):
        super().__init__()
        self.heads, self.window, self.shift = heads, window, window // 2
        self.blocks = nn.CellList(
            [Block(channels, heads, window, self.shift * (i % 2), mlp_ratio, rate) for i, rate in enumerate(drop_paths)]
        )
        self.downsample = PatchMerging(channels) if downsample else None

    def construct(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        regular = window_partition(grid, self.window, 0, self.heads)
        shifted = window_partition(grid, self.window, self.shift, self.heads)
        for index, block in enumerate(self.blocks):
            x = block(x, shifted if index % 2 else regular)
        return x


class SwinTransformer(nn.Cell):
    """Images (N, 3, H, W) of any size -> maps (N, channels * 2^i, h, w) of strides 4, 8, 16, 32; sizes round up.

    channels: of the first stage. depths, heads: blocks and attention heads of each of the four stages. window: tokens
    on a window's side; a smaller map is padded to one window. mlp_ratio: the hidden width of an MLP in parts of its
    tokens', cut down to a whole number. drop_path_rate: stochastic depth of the last block, growing linearly from 0 at
    the first.

    As in mmdetection and detectron2's Mask2Former: no absolute position embedding, windows that never shrink.
    """

    def __init__(
        self,
        channels: int,
        depths: Sequence[int],
        heads: Sequence[int],
        window: int,
        mlp_ratio: float = 4,
        drop_path_rate: float = 0.0,
    ):
        super().__init__()
        rates = np.linspace(0, drop_path_rate, sum(depths)).tolist()
        starts = np.cumsum([0, *depths])
        self.out_channels = tuple(channels * 2**level for level in range(LEVELS))
        self.patch_embed = PatchEmbed(channels)
        self.stages = nn.CellList(
            [
                Stage(width, heads[i], window, mlp_ratio, rates[starts[i] : starts[i + 1]], downsample=i < LEVELS - 1)
                for i, width in enumerate(self.out_channels)
            ]
        )
        for level, width in enumerate(self.out_channels):
            setattr(self, f"norm{level}", LayerNorm(width, NORM_EPS))
        self.to_map = TokensToMap()

    def construct(self, images: Tensor) -> tuple[Tensor, ...]:
        norms = (self.norm0, self.norm1, self.norm2, self.norm3)
        x, grid = self.patch_embed(images)
        maps: tuple[Tensor, ...] = ()
        for level, stage in enumerate(self.stages):
            x = stage(x, grid)
            maps += (self.to_map(norms[level](x), grid),)
            if stage.downsample is not None:
                x = stage.downsample(x, grid)
                grid = ((grid[0] + 1) // 2, (grid[1] + 1) // 2)
        return maps
