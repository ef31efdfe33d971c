"""Swin Transformer (arXiv:2103.14030) as a backbone, for pictures of any size, with a norm for each of its maps."""

from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import TruncatedNormal, initializer

from ms_seg.cells.activation import GELU
from ms_seg.cells.attention import BiasedSoftmax, attn_scores, weighted_sum
from ms_seg.cells.conv import Conv2d, fan_in_uniform
from ms_seg.cells.drop import DropPath
from ms_seg.cells.mlp import MLP, Dense
from ms_seg.cells.norm import LayerNorm
from ms_seg.cells.position import arange
from ms_seg.cells.tokens import MapToTokens, TokensToMap

NORM_EPS = 1e-5
PATCH_SIZE = 4
LEVELS = 4
MASKED = -100.0  # added to the scores of tokens that must not attend to each other: not -inf, in all references

# indices of queries, keys and values, their inverse, and of biases: see window_partition
Partition = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


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

    Opposite edges of the map meet in a shifted window, and a mask keeps them apart. Tokens that pad the map to whole
    windows are zero before the projection to queries, keys and values, and are attended to, as in all references.
    """

    def __init__(self, channels: int, heads: int, window: int, shift: int):
        super().__init__()
        self.heads = heads
        self.qkv = Dense(channels, 3 * channels)
        self.proj = Dense(channels, channels)
        table = initializer(TruncatedNormal(0.02), ((2 * window - 1) ** 2, heads))
        self.relative_position_bias_table = Parameter(table)
        self.relative_position_index = Tensor(_relative_position_index(window))
        self.attn_masks = Tensor(_attn_masks(window, shift)) if shift else None
        self.softmax = BiasedSoftmax()

    def construct(self, x: Tensor, partition: Partition) -> Tensor:
        queries, keys, values, inverse, bias_index = partition
        n, length, channels = x.shape
        depth = channels // self.heads
        x = self.qkv(ops.concat((x, ops.zeros((n, 1, channels), x.dtype)), 1))
        x = ops.reshape(x, (n, (length + 1) * 3 * self.heads, depth))
        query, key, value = ops.gather(x, queries, 1), ops.gather(x, keys, 1), ops.gather(x, values, 1)
        bias = ops.gather(ops.transpose(self.relative_position_bias_table, (1, 0)), self.relative_position_index, 1)
        if self.attn_masks is not None:
            bias = ops.reshape(bias + self.attn_masks, (-1, *bias.shape[1:]))  # (4 heads, window^2, window^2)
        bias_index = ops.broadcast_to(bias_index, (n, *bias_index.shape))
        attn_weights = self.softmax(attn_scores(query, key), bias, bias_index)
        x = weighted_sum(attn_weights, value)  # (N, windows, heads, window^2, depth)
        x = ops.gather(ops.reshape(x, (n, queries.size, depth)), inverse, 1)  # (N, H*W, heads, depth)
        return self.proj(ops.reshape(x, (n, length, channels)))


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


def window_partition(grid: tuple[int, int], window: int, shift: int, heads: int) -> Partition:
    """Partition a map of H x W tokens into windows, `window` wide, after a cyclic shift up and left by `shift`.

    Padding to whole windows, the shift, cutting and splitting heads are one gathering of rows, and the way back is
    another: 163,200 rows of 32 take 2 ms on the CPU, where transposing them takes 17 ms. Gradients written out would be
    gatherings too; they saved nothing that could be measured.

    H and W may be known only at run time. Rows are counted in the order (token, one of query, key and value, head);
    token number H*W pads the map, right and bottom, to whole windows.

    Returns int32:
        indices of queries, of keys, of values: (windows, heads, window^2) each, among the rows.
        inverse: (H*W, heads), where in (windows, heads, window^2) a token's head is.
        bias_index: (windows, heads), the head plus `heads` times the window's kind: 0 for most; in a shifted map 1 for
            windows of the last column, 2 of the last row, 3 of both.
    """
    height, width = grid
    down, across = (height + window - 1) // window, (width + window - 1) // window
    head = arange(heads)

    y = ops.reshape((arange(down * window) + shift) % (down * window), (down, 1, window, 1))
    x = ops.reshape((arange(across * window) + shift) % (across * window), (1, across, 1, window))
    inside = (y < height).astype(ms.int32) * (x < width).astype(ms.int32)
    tokens = inside * (y * width + x - height * width) + height * width
    tokens = ops.reshape(tokens * (3 * heads), (down * across, 1, window * window))
    queries = tokens + ops.reshape(head, (heads, 1))

    y = ops.reshape((arange(height) + (down * window - shift)) % (down * window), (height, 1))
    x = (arange(width) + (across * window - shift)) % (across * window)
    at_window, at_position = (y // window) * across + x // window, (y % window) * window + x % window
    inverse = ops.reshape(at_window * (heads * window * window) + at_position, (height * width, 1))

    shifted = 1 if shift else 0
    last_row, last_column = arange(down) == down - 1, arange(across) == across - 1
    kinds = ops.reshape(last_row.astype(ms.int32) * 2, (down, 1)) + last_column.astype(ms.int32)
    bias_index = ops.reshape(kinds, (down * across, 1)) * (shifted * heads) + head
    return queries, queries + heads, queries + 2 * heads, inverse + head * (window * window), bias_index


def _relative_position_index(window: int) -> np.ndarray:
    """(window^2, window^2) int32: the row of the bias table for a query and a key, by their offset."""
    y, x = np.divmod(np.arange(window * window), window)
    return ((y[:, None] - y + window - 1) * (2 * window - 1) + x[:, None] - x + window - 1).astype(np.int32)


def _attn_masks(window: int, shift: int) -> np.ndarray:
    """(4, 1, window^2, window^2) float32, one for each kind of window in `window_partition`, to be added to scores.

    After the shift, the last `shift` rows of the last row of windows are the map's first ones, likewise its columns.
    """
    wrapped = np.arange(window) >= window - shift
    nowhere = np.zeros(window, bool)
    masks = []
    for rows, columns in ((nowhere, nowhere), (nowhere, wrapped), (wrapped, nowhere), (wrapped, wrapped)):
        region = (2 * rows[:, None] + columns).ravel()
        masks.append(np.where(region[:, None] == region, 0, MASKED))
    return np.stack(masks)[:, None].astype(np.float32)
