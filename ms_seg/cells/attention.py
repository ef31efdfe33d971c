"""Multi-head attention in the plain operators that every device has."""

from __future__ import annotations

from mindspore import Tensor, ops

from ms_seg.cells.precision import product


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(N, L, C) -> (N, heads, L, C / heads)."""
    n, length, channels = x.shape
    return ops.transpose(ops.reshape(x, (n, length, heads, channels // heads)), (0, 2, 1, 3))


def merge_heads(x: Tensor) -> Tensor:
    """(N, heads, L, D) -> (N, L, heads * D)."""
    n, heads, length, depth = x.shape
    return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (n, length, heads * depth))


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax(query key^T / sqrt(D)) value, for (N, heads, Lq, D), (N, heads, Lk, D), (N, heads, Lk, D)."""
    scale = query.shape[-1] ** -0.5
    scores = product(ops.BatchMatMul(transpose_b=True), query * scale, key)  # (N, heads, Lq, Lk)
    return product(ops.BatchMatMul(), ops.softmax(scores, axis=-1), value)
