"""Self-attention within the windows of a map, which may be shifted (Swin, arXiv:2103.14030, section 3.2)."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from ms_seg.cells import native
from ms_seg.cells.attention import BiasedSoftmax, attn_scores, weighted_sum
from ms_seg.cells.position import arange
from ms_seg.cells.precision import in_float32

MASKED = -100.0  # added to the scores of tokens that must not attend to each other: not -inf, in all references

# the map's height and width; indices of queries, keys and values, their inverse, and of biases: see window_partition
Partition = tuple[tuple[int, int], Tensor, Tensor, Tensor, Tensor, Tensor]


class ShiftedWindowAttention(nn.Cell):
    """softmax(query key^T / sqrt(D) + bias) value within each window, where the bias of two tokens is a row of a table,
    by their offset.

    qkv (N, H*W, 3 C), queries, keys and values, each head by head; padding (3 C), that of the tokens that pad the map
    to whole windows; table (table_rows(window), heads); partition of this window and shift -> (N, H*W, C), all float32.
    Opposite edges of the map meet in a shifted window, and a mask keeps them apart.
    """

    def __init__(self, heads: int, window: int, shift: int):
        """window: tokens on a side. shift: of the windows, down and right, less than `window`."""
        super().__init__()
        self.heads = heads
        self.relative_position_index = Tensor(_relative_position_index(window))
        self.attn_masks = Tensor(_attn_masks(window, shift)) if shift else None
        self.softmax = BiasedSoftmax()
        self.native = native.available()
        if self.native:
            # Swin-L at 800x1088, CPU time of a pass: 8.7 s and 2.4 GB, where the steps take 10.1 s and 3.0 GB; the
            # same bits (Intel Xeon with AVX-512, two cores).
            gradient = native.gradient("window_attention_grad", of=3)

            def bprop(
                qkv: Tensor, padding: Tensor, biases: Tensor, numbers: Tensor, out: Tensor, dout: Tensor
            ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
                return *gradient(qkv, padding, biases, numbers, dout), ops.zeros_like(numbers)

            self.attend = native.operator("window_attention", 4, bprop)
            self.numbers = Tensor([window, shift, heads], ms.int32)

    def construct(self, qkv: Tensor, padding: Tensor, table: Tensor, partition: Partition) -> Tensor:
        n, length, channels = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
        bias = ops.gather(ops.transpose(table, (1, 0)), self.relative_position_index, 1)
        if self.attn_masks is not None:
            bias = ops.reshape(bias + self.attn_masks, (-1, *bias.shape[1:]))  # (4 heads, window^2, window^2)
        if self.native and in_float32():
            x = self.attend(ops.reshape(qkv, (n, *partition[0], 3 * channels)), padding, bias, self.numbers)
            return ops.reshape(x, (n, length, channels))
        return self._in_steps(qkv, padding, bias, partition)

    def _in_steps(self, qkv: Tensor, padding: Tensor, bias: Tensor, partition: Partition) -> Tensor:
        _, queries, keys, values, inverse, bias_index = partition
        n, length, channels = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
        depth = channels // self.heads
        qkv = ops.concat((qkv, ops.broadcast_to(padding, (n, 1, 3 * channels))), 1)
        qkv = ops.reshape(qkv, (n, (length + 1) * 3 * self.heads, depth))
        query, key, value = ops.gather(qkv, queries, 1), ops.gather(qkv, keys, 1), ops.gather(qkv, values, 1)
        bias_index = ops.broadcast_to(bias_index, (n, *bias_index.shape))
        attn_weights = self.softmax(attn_scores(query, key), bias, bias_index)
        x = weighted_sum(attn_weights, value)  # (N, windows, heads, window^2, depth)
        x = ops.gather(ops.reshape(x, (n, queries.size, depth)), inverse, 1)  # (N, H*W, heads, depth)
        return ops.reshape(x, (n, length, channels))


def table_rows(window: int) -> int:
    """The rows of a table: one for each offset between two tokens of a window."""
    return (2 * window - 1) ** 2


def window_partition(grid: tuple[int, int], window: int, shift: int, heads: int) -> Partition:
    """Partition a map of H x W tokens into windows, `window` wide, after a cyclic shift up and left by `shift`.

    Padding to whole windows, the shift, cutting and splitting heads are one gathering of rows, and the way back is
    another: 163,200 rows of 32 take 2 ms on the CPU, where transposing them takes 17 ms. Gradients written out would be
    gatherings too; they saved nothing that could be measured.

    H and W may be known only at run time. Rows are counted in the order (token, one of query, key and value, head);
    token number H*W pads the map, right and bottom, to whole windows.

    Returns the grid, and int32:
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
    return grid, queries, queries + heads, queries + 2 * heads, inverse + head * (window * window), bias_index


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
