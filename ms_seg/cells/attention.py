"""Multi-head attention in the plain operators that every device has."""

from __future__ import annotations

from mindspore import Tensor, nn, ops

from ms_seg.cells.count import count
from ms_seg.cells.dense import Dense
from ms_seg.cells.precision import product
from ms_seg.cells.softmax import BiasedSoftmax


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(N, L, C) -> (N, heads, L, C / heads)."""
    n, length, channels = x.shape
    return ops.transpose(ops.reshape(x, (n, length, heads, channels // heads)), (0, 2, 1, 3))


def merge_heads(x: Tensor) -> Tensor:
    """(N, heads, L, D) -> (N, L, heads * D)."""
    n, heads, length, depth = x.shape
    return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (n, length, heads * depth))


def scores_of(query: Tensor, key: Tensor) -> Tensor:
    """query key^T / sqrt(D), for (..., Lq, D) and (..., Lk, D): (..., Lq, Lk)."""
    return product(ops.BatchMatMul(transpose_b=True), query * query.shape[-1] ** -0.5, key)


def sums_of(shares: Tensor, value: Tensor) -> Tensor:
    """Shares (..., Lq, Lk) of values (..., Lk, D) -> (..., Lq, D)."""
    return product(ops.BatchMatMul(), shares, value)


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """Softmax(query key^T / sqrt(D) + bias) value, for (N, heads, Lq, D), (N, heads, Lk, D), (N, heads, Lk, D).

    bias: (Lq, Lk), such as a mask of 0 and -inf. Large scores are for BiasedSoftmax.
    """
    scores = scores_of(query, key)  # (N, heads, Lq, Lk)
    if bias is not None:
        scores = scores + bias
    return sums_of(ops.softmax(scores, axis=-1), value)


class SelfAttention(nn.Cell):
    """Every token asks all of them: (N, L, C) -> the same. arXiv:1706.03762, section 3.2.2.

    Queries, keys and values come from one product, in this order. position: (L, C), added to what queries and keys are
    made of.
    """

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = Dense(channels, 3 * channels)
        self.proj = Dense(channels, channels)

    def construct(self, x: Tensor, bias: Tensor | None = None, position: Tensor | None = None) -> Tensor:
        query, key, value = self.qkv(x).chunk(3, axis=-1)
        if position is not None:
            query, key, _ = self.qkv(x + position).chunk(3, axis=-1)
        query, key, value = (split_heads(part, self.heads) for part in (query, key, value))
        return self.proj(merge_heads(attend(query, key, value, bias)))


class CrossAttention(nn.Cell):
    """Tokens ask others: queries (N, Lq, C), keys and values (N, Lk, C) -> (N, Lq, C).

    mask: (N, Lq, Lk), added to the scores of all heads: 0, and -inf where a query does not look.
    """

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = Dense(channels, channels), Dense(channels, channels), Dense(channels, channels)
        self.proj = Dense(channels, channels)
        self.softmax = BiasedSoftmax()

    def construct(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        query, key, value = (split_heads(part, self.heads) for part in (self.q(query), self.k(key), self.v(value)))
        n = mask.shape[0]
        sample = ops.broadcast_to(ops.reshape(count(n), (n, 1)), (n, self.heads))
        shares = self.softmax(scores_of(query, key), mask, sample)
        return self.proj(merge_heads(sums_of(shares, value)))
