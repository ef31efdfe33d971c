"""Self-attention with a table of relative positions (BEiT, arXiv:2106.08254): a class token and a grid of patches."""

from __future__ import annotations

import functools

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from ms_seg.cells import native
from ms_seg.cells.attention import BiasedSoftmax, MergeHeads, SplitHeads, attn_scores, weighted_sum
from ms_seg.cells.position import arange
from ms_seg.cells.precision import in_float32

CLASS_ROWS = 3  # of a table: from the class token to the patches, from the patches to it, and to itself


class RelativeAttention(nn.Cell):
    """softmax(query key^T / sqrt(D) + bias) value, where the bias of two tokens is a row of a table, by their offset.

    qkv (N, L, 3 C), queries, keys and values, each head by head; table (table_rows(grid), heads) -> (N, L, C), all
    float32. grid: (H, W), of the patches that follow the class token: L = 1 + H W, or ValueError is raised.
    """

    def __init__(self, heads: int, grid: tuple[int, int]):
        super().__init__()
        self.grid = grid
        self.attend = _RelativeAttention(heads, grid)
        self.float32_attend = _NativeRelativeAttention(grid) if native.available() else self.attend

    def construct(self, qkv: Tensor, table: Tensor) -> Tensor:
        height, width = self.grid
        if qkv.shape[1] != 1 + height * width:
            raise ValueError(f"there must be 1 + {height} * {width} tokens: there are {qkv.shape[1]}")
        return self.float32_attend(qkv, table) if in_float32() else self.attend(qkv, table)


def table_rows(grid: tuple[int, int]) -> int:
    """The rows of a table for a grid of H x W patches: one for each offset between two, and CLASS_ROWS."""
    return (2 * grid[0] - 1) * (2 * grid[1] - 1) + CLASS_ROWS


class _NativeRelativeAttention(nn.Cell):
    """What _RelativeAttention computes, with no array of the scores' size.

    BEiT-L at 896x896, 16 heads of 64 channels and 3,137 tokens, CPU time: 0.50 s and 50 MB, where _RelativeAttention
    takes 0.95 s and 2.0 GB, PyTorch 3.06 s and 1.8 GB. With gradients 1.79 s and 0.13 GB, 2.08 s and 4.6 GB, 6.12 s and
    1.95 GB; all but 0.13 GB of that is kept for each block until its gradients are computed.
    """

    def __init__(self, grid: tuple[int, int]):
        super().__init__()
        self.grid = Tensor(grid, ms.int32)
        gradient = native.gradient("relative_attention_grad", of=2)

        def bprop(qkv: Tensor, table: Tensor, grid: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return *gradient(qkv, table, grid, dout), ops.zeros_like(grid)

        self.forward = native.operator("relative_attention", 3, bprop)

    def construct(self, qkv: Tensor, table: Tensor) -> Tensor:
        return self.forward(qkv, table, self.grid)


class _RelativeAttention(nn.Cell):
    def __init__(self, heads: int, grid: tuple[int, int]):
        super().__init__()
        self.heads = heads
        self.index = _relative_position_index(*grid)
        self.softmax = BiasedSoftmax()
        self.split_heads, self.merge_heads = SplitHeads(heads), MergeHeads()

    def construct(self, qkv: Tensor, table: Tensor) -> Tensor:
        query, key, value = qkv.chunk(3, axis=-1)
        query, key, value = self.split_heads(query), self.split_heads(key), self.split_heads(value)
        table = ops.depend(table, qkv)  # or the biases of all blocks would be gathered first: 15 GB of BEiT-L
        bias = ops.gather(ops.transpose(table, (1, 0)), self.index, 1)  # (heads, L, L)
        bias_index = ops.broadcast_to(arange(self.heads), (qkv.shape[0], self.heads))
        attn_weights = self.softmax(attn_scores(query, key), bias, bias_index)
        return self.merge_heads(weighted_sum(attn_weights, value))


@functools.cache
def _relative_position_index(height: int, width: int) -> Tensor:
    """(L, L) int32: the row of a table for a query and a key. One for all blocks: of 56 x 56 patches it is 39 MB."""
    y, x = np.divmod(np.arange(height * width, dtype=np.int32), width)
    of_class = table_rows((height, width)) - CLASS_ROWS
    index = np.empty((1 + height * width, 1 + height * width), np.int32)
    index[1:, 1:] = (y[:, None] - y + height - 1) * (2 * width - 1) + x[:, None] - x + width - 1
    index[0], index[:, 0], index[0, 0] = of_class, of_class + 1, of_class + 2
    return Tensor(index)
