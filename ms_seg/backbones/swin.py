"""Swin Transformer as a backbone, for pictures of any size, with a norm for each of its maps: arXiv:2103.14030."""

from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import TruncatedNormal, initializer

from ms_seg.cells.activation import gelu
from ms_seg.cells.attention import scores_of, sums_of
from ms_seg.cells.conv import Conv2d, fan_in_uniform
from ms_seg.cells.count import count
from ms_seg.cells.dense import Dense
from ms_seg.cells.drop import DropPath
from ms_seg.cells.mlp import MLP
from ms_seg.cells.norm import LayerNorm
from ms_seg.cells.softmax import BiasedSoftmax
from ms_seg.cells.tokens import map_to_tokens, tokens_to_map
from ms_seg.cells.windows import Windows, windows_of

NORM_EPS = 1e-5
MLP_RATIO = 4
PATCH = 4  # pixels
LEVELS = 4
APART = -100.0  # added to the scores of tokens that do not see each other: not -inf, in all references


class PatchEmbed(nn.Cell):
    """Patches of 4x4 pixels side by side, zeros completing the last ones: (N, 3, H, W) -> (N, L, channels), grid."""

    def __init__(self, channels: int):
        super().__init__()
        padding = (0, PATCH - 1, 0, PATCH - 1)  # bottom and right; of whole patches nothing of it is read
        self.proj = Conv2d(3, channels, PATCH, stride=PATCH, padding=padding, weight_init=fan_in_uniform())
        self.norm = LayerNorm(channels, NORM_EPS)

    def construct(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        x = self.proj(images)
        return self.norm(map_to_tokens(x)), x.shape[2:]


class WindowAttention(nn.Cell):
    """Every token asks those of its window: tokens (N, H*W, channels) -> the same.

    In a shifted window the ends of the map meet, and do not see each other. Tokens that pad the map to whole windows
    are zero before they become queries, keys and values, and are seen: all references do so.
    """

    def __init__(self, channels: int, heads: int, window: int, shift: int):
        super().__init__()
        self.heads = heads
        self.qkv = Dense(channels, 3 * channels)
        self.proj = Dense(channels, channels)
        table = initializer(TruncatedNormal(0.02), ((2 * window - 1) ** 2, heads))
        self.relative_position_bias_table = Parameter(table)
        self.relative_positions = Tensor(_relative_positions(window))
        self.masks = Tensor(_masks(window, shift)) if shift else None
        self.softmax = BiasedSoftmax()

    def construct(self, x: Tensor, windows: Windows) -> Tensor:
        queries, keys, values, places, biases = windows
        n, length, channels = x.shape
        depth = channels // self.heads
        x = self.qkv(ops.concat((x, ops.zeros((n, 1, channels), x.dtype)), 1))
        x = ops.reshape(x, (n, (length + 1) * 3 * self.heads, depth))
        query, key, value = ops.gather(x, queries, 1), ops.gather(x, keys, 1), ops.gather(x, values, 1)
        bias = ops.gather(ops.transpose(self.relative_position_bias_table, (1, 0)), self.relative_positions, 1)
        if self.masks is not None:
            bias = ops.reshape(bias + self.masks, (-1, *bias.shape[1:]))  # (4 heads, window^2, window^2)
        shares = self.softmax(scores_of(query, key), bias, ops.broadcast_to(biases, (n, *biases.shape)))
        x = ops.reshape(sums_of(shares, value), (n, queries.size, depth))  # (N, windows * heads * window^2, depth)
        x = ops.gather(x, places, 1)  # (N, H*W, heads, depth)
        return self.proj(ops.reshape(x, (n, length, channels)))


class Block(nn.Cell):
    """Window attention and MLP, each after a LayerNorm and around a residual connection."""

    def __init__(self, channels: int, heads: int, window: int, shift: int, drop_path: float):
        super().__init__()
        self.norm1 = LayerNorm(channels, NORM_EPS)
        self.attn = WindowAttention(channels, heads, window, shift)
        self.norm2 = LayerNorm(channels, NORM_EPS)
        self.mlp = MLP(channels, MLP_RATIO * channels, gelu())
        self.drop_path1, self.drop_path2 = DropPath(drop_path), DropPath(drop_path)

    def construct(self, x: Tensor, windows: Windows) -> Tensor:
        x = x + self.drop_path1(self.attn(self.norm1(x), windows))
        return x + self.drop_path2(self.mlp(self.norm2(x)))


class PatchMerging(nn.Cell):
    """Every 2x2 tokens become one of twice the channels, zeros completing the last ones.

    Tokens (N, H*W, C) -> (N, ceil(H / 2) * ceil(W / 2), 2 C). The four are taken column by column, as the original
    does; mmdetection's weights are for another order of their channels.
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
        y = ops.reshape(count(down) * 2, (down, 1, 1)) + self.rows
        z = ops.reshape(count(across) * 2, (across, 1)) + self.columns
        inside = (y < height).astype(ms.int32) * (z < width).astype(ms.int32)
        tokens = inside * (y * width + z - length) + length
        x = ops.concat((x, ops.zeros((n, 1, channels), x.dtype)), 1)
        x = ops.gather(x, ops.reshape(tokens, (down * across * 4,)), 1)
        return self.reduction(self.norm(ops.reshape(x, (n, down * across, 4 * channels))))


class Stage(nn.Cell):
    """Blocks whose windows are shifted by half their width in every second one: tokens (N, H*W, C) -> the same."""

    def __init__(self, channels: int, heads: int, window: int, drop_paths: Sequence[float], merges: bool):
        super().__init__()
        self.heads, self.window, self.shift = heads, window, window // 2
        self.blocks = nn.CellList(
            [Block(channels, heads, window, self.shift * (i % 2), rate) for i, rate in enumerate(drop_paths)]
        )
        self.downsample = PatchMerging(channels) if merges else None

    def construct(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        plain = windows_of(grid, self.window, 0, self.heads)
        shifted = windows_of(grid, self.window, self.shift, self.heads)
        for number, block in enumerate(self.blocks):
            x = block(x, shifted if number % 2 else plain)
        return x


class SwinTransformer(nn.Cell):
    """Images (N, 3, H, W) of any size -> maps (N, channels * 2^i, h, w) of strides 4, 8, 16, 32; sizes round up.

    channels: of the first stage. depths, heads: blocks and attention heads of each of the four stages. window: tokens
    of a window's side; a smaller map is padded to one. drop_path_rate: stochastic depth of the last block, growing
    linearly from 0 at the first.

    As mmdetection and detectron2's Mask2Former have it: no absolute positions, windows that never shrink.
    """

    def __init__(
        self, channels: int, depths: Sequence[int], heads: Sequence[int], window: int, drop_path_rate: float = 0.0
    ):
        super().__init__()
        rates = np.linspace(0, drop_path_rate, sum(depths)).tolist()
        starts = np.cumsum([0, *depths])
        self.out_channels = tuple(channels * 2**level for level in range(LEVELS))
        self.patch_embed = PatchEmbed(channels)
        self.stages = nn.CellList(
            [
                Stage(width, heads[i], window, rates[starts[i] : starts[i + 1]], merges=i < LEVELS - 1)
                for i, width in enumerate(self.out_channels)
            ]
        )
        for level, width in enumerate(self.out_channels):
            setattr(self, f"norm{level}", LayerNorm(width, NORM_EPS))

    def construct(self, images: Tensor) -> tuple[Tensor, ...]:
        norms = (self.norm0, self.norm1, self.norm2, self.norm3)
        x, grid = self.patch_embed(images)
        maps = ()
        for level, stage in enumerate(self.stages):
            x = stage(x, grid)
            maps += (tokens_to_map(norms[level](x), grid),)
            if stage.downsample is not None:
                x = stage.downsample(x, grid)
                grid = ((grid[0] + 1) // 2, (grid[1] + 1) // 2)
        return maps


def _relative_positions(window: int) -> np.ndarray:
    """(window^2, window^2) int32: the table's row for a query and a key, by how far apart they are."""
    y, x = np.divmod(np.arange(window * window), window)
    return ((y[:, None] - y + window - 1) * (2 * window - 1) + x[:, None] - x + window - 1).astype(np.int32)


def _masks(window: int, shift: int) -> np.ndarray:
    """(4, 1, window^2, window^2) float32, one for each of `windows_of`'s kinds, to be added to scores.

    After the roll, the last `shift` rows of the last row of windows are the map's first ones, likewise its columns.
    """
    wrapped = np.arange(window) >= window - shift
    nowhere = np.zeros(window, bool)
    masks = []
    for rows, columns in ((nowhere, nowhere), (nowhere, wrapped), (wrapped, nowhere), (wrapped, wrapped)):
        region = (2 * rows[:, None] + columns).ravel()
        masks.append(np.where(region[:, None] == region, 0, APART))
    return np.stack(masks)[:, None].astype(np.float32)
