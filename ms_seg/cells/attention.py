"""Multi-head attention in the plain operators that every device has, and its softmax with a shared bias."""

from __future__ import annotations

from mindspore import Tensor, nn, ops

from ms_seg.cells import native
from ms_seg.cells.mlp import Dense
from ms_seg.cells.position import arange
from ms_seg.cells.precision import in_precision
from ms_seg.cells.tokens import SwapAxes


class SplitHeads(nn.Cell):
    """(N, L, C) -> (N, heads, L, C / heads)."""

    def __init__(self, heads: int):
        super().__init__()
        self.heads, self.swap = heads, SwapAxes()

    def construct(self, x: Tensor) -> Tensor:
        n, length, channels = x.shape
        return self.swap(ops.reshape(x, (n, length, self.heads, channels // self.heads)))


class MergeHeads(nn.Cell):
    """(N, heads, L, D) -> (N, L, heads * D)."""

    def __init__(self) -> None:
        super().__init__()
        self.swap = SwapAxes()

    def construct(self, x: Tensor) -> Tensor:
        n, heads, length, depth = x.shape
        return ops.reshape(self.swap(x), (n, length, heads * depth))


def attn_scores(query: Tensor, key: Tensor) -> Tensor:
    """query key^T / sqrt(D), for (..., Lq, D) and (..., Lk, D): (..., Lq, Lk)."""
    return in_precision(ops.BatchMatMul(transpose_b=True), query * query.shape[-1] ** -0.5, key)


def weighted_sum(attn_weights: Tensor, value: Tensor) -> Tensor:
    """Weights (..., Lq, Lk) of values (..., Lk, D) -> (..., Lq, D)."""
    return in_precision(ops.BatchMatMul(), attn_weights, value)


def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """softmax(query key^T / sqrt(D) + bias) value, for (N, heads, Lq, D), (N, heads, Lk, D), (N, heads, Lk, D).

    bias: (Lq, Lk), such as a mask of 0 and -inf. Where many scores share a large one, use BiasedSoftmax.
    """
    scores = attn_scores(query, key)  # (N, heads, Lq, Lk)
    if bias is not None:
        scores = scores + bias
    return weighted_sum(ops.softmax(scores, axis=-1), value)


class SelfAttention(nn.Cell):
    """Multi-head self-attention, (N, L, C) -> the same: arXiv:1706.03762, section 3.2.2.

    Queries, keys and values come from one packed projection, in this order. position: (L, C), added to the input of
    queries and keys.
    """

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.qkv = Dense(channels, 3 * channels)
        self.proj = Dense(channels, channels)
        self.split_heads, self.merge_heads = SplitHeads(heads), MergeHeads()

    def construct(self, x: Tensor, bias: Tensor | None = None, position: Tensor | None = None) -> Tensor:
        query, key, value = self.qkv(x).chunk(3, axis=-1)
        if position is not None:
            query, key, _ = self.qkv(x + position).chunk(3, axis=-1)
        query, key, value = self.split_heads(query), self.split_heads(key), self.split_heads(value)
        return self.proj(self.merge_heads(scaled_dot_product_attention(query, key, value, bias)))


class CrossAttention(nn.Cell):
    """Multi-head attention of queries (N, Lq, C) to keys and values (N, Lk, C) -> (N, Lq, C).

    mask: (N, Lq, Lk), added to the scores of all heads: 0, and -inf where a query must not attend.
    """

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = Dense(channels, channels), Dense(channels, channels), Dense(channels, channels)
        self.proj = Dense(channels, channels)
        self.softmax = BiasedSoftmax()
        self.split_heads, self.merge_heads = SplitHeads(heads), MergeHeads()

    def construct(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        query, key = self.split_heads(self.q(query)), self.split_heads(self.k(key))
        value = self.split_heads(self.v(value))
        n = mask.shape[0]
        mask_index = ops.broadcast_to(ops.reshape(arange(n), (n, 1)), (n, self.heads))
        attn_weights = self.softmax(attn_scores(query, key), mask, mask_index)
        return self.proj(self.merge_heads(weighted_sum(attn_weights, value)))


class BiasedSoftmax(nn.Cell):
    """softmax(scores + biases[bias_index]) over the last axis, for biases that many scores share: masks, positions.

    Scores (..., Lq, Lk) and biases (K, Lq, Lk) float32, bias_index (...) int32 from 0 to K - 1 -> (..., Lq, Lk). A bias
    may hold -inf, but not in a whole row. An index outside the biases is an error where the operator in C is used.
    """

    def __init__(self) -> None:
        super().__init__()
        self.softmax = _NativeBiasedSoftmax() if native.available() else _BiasedSoftmax()

    def construct(self, scores: Tensor, biases: Tensor, bias_index: Tensor) -> Tensor:
        return self.softmax(scores, biases, bias_index)


class _NativeBiasedSoftmax(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        gradient = native.gradient("biased_softmax_grad", of=2)

        def bprop(
            scores: Tensor, biases: Tensor, bias_index: Tensor, out: Tensor, dout: Tensor
        ) -> tuple[Tensor, Tensor, Tensor]:
            return *gradient(out, biases, bias_index, dout), ops.zeros_like(bias_index)

        self.forward = native.operator("biased_softmax", 3, bprop)

    def construct(self, scores: Tensor, biases: Tensor, bias_index: Tensor) -> Tensor:
        return self.forward(scores, biases, bias_index)


class _BiasedSoftmax(nn.Cell):
    """Gathers the biases to the scores' full size: a broadcast sum leaves some 16 bytes for each of its elements behind
    on the CPU for as long as its graph lives, 5.8 GB in a Mask2Former with Swin-L for 800x1088."""

    def construct(self, scores: Tensor, biases: Tensor, bias_index: Tensor) -> Tensor:
        return ops.softmax(scores + ops.reshape(ops.gather(biases, bias_index, 0), scores.shape), axis=-1)
