"""Multi-head attention in the plain operators that every device has, and its softmax with a shared bias."""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, nn, ops

from ms_seg.cells import native
from ms_seg.cells.mlp import Dense
from ms_seg.cells.position import arange
from ms_seg.cells.precision import in_float32, in_precision
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


class Attention(nn.Cell):
    """softmax(query key^T / sqrt(D) + mask) value, head by head: arXiv:1706.03762, section 3.2.

    query (N, Lq, C), key and value (N, Lk, C), in each of which D = C / heads channels are a head's -> (N, Lq, C), all
    float32. mask: (N, Lq, Lk), or (1, Lq, Lk) for all samples, added to the scores of all heads: 0, and -inf where a
    query must not attend, but not everywhere. It has no gradient.
    """

    def __init__(self, heads: int):
        super().__init__()
        self.attend = _Attention(heads)
        self.float32_attend = _NativeAttention(heads) if native.available() else self.attend

    def construct(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        if in_float32():
            return self.float32_attend(query, key, value, mask)
        return self.attend(query, key, value, mask)

    def packed(self, qkv: Tensor) -> Tensor:
        """Queries, keys and values side by side, (N, L, 3 C) -> (N, L, C), without a mask."""
        return self.float32_attend.packed(qkv) if in_float32() else self.attend.packed(qkv)


class _NativeAttention(nn.Cell):
    """What _Attention computes, with no array of the scores' size.

    CPU time (AMD Zen 5), forward and with gradients, and that of _Attention: 200 queries and 12,544 keys of 32 heads
    with a mask, 110 and 299 ms, 220 and 811 ms; 901 tokens of 16 heads, 20 and 46 ms, 44 and 128 ms; 16,384 queries and
    256 keys of one head, 7 and 16 ms, 17 and 54 ms.
    """

    def __init__(self, heads: int):
        super().__init__()
        self.heads = Tensor(heads, ms.int32)
        gradient = native.gradient("attention_grad", of=3)
        masked_gradient = native.gradient("masked_attention_grad", of=3)

        def bprop(
            query: Tensor, key: Tensor, value: Tensor, heads: Tensor, out: Tensor, dout: Tensor
        ) -> tuple[Tensor, ...]:
            return *gradient(query, key, value, heads, dout), ops.zeros_like(heads)

        def masked_bprop(
            query: Tensor, key: Tensor, value: Tensor, mask: Tensor, heads: Tensor, out: Tensor, dout: Tensor
        ) -> tuple[Tensor, ...]:
            gradients = masked_gradient(query, key, value, mask, heads, dout)
            return *gradients, ops.zeros_like(mask), ops.zeros_like(heads)

        packed_gradient = native.gradient("self_attention_grad", of=1)

        def packed_bprop(qkv: Tensor, heads: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
            return packed_gradient(qkv, heads, dout), ops.zeros_like(heads)

        self.packed_forward = native.operator("self_attention", 2, packed_bprop)
        self.forward = native.operator("attention", 4, bprop)
        self.masked_forward = native.operator("masked_attention", 5, masked_bprop)

    def construct(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            return self.forward(query, key, value, self.heads)
        return self.masked_forward(query, key, value, mask, self.heads)

    def packed(self, qkv: Tensor) -> Tensor:
        """Read where the projection wrote them: to take them apart costs a ViT-L of 901 tokens 0.7 ms a block."""
        return self.packed_forward(qkv, self.heads)


class _Attention(nn.Cell):
    """A mask is added by BiasedSoftmax, which many heads share."""

    def __init__(self, heads: int):
        super().__init__()
        self.heads = heads
        self.softmax = BiasedSoftmax()
        self.split_heads, self.merge_heads = SplitHeads(heads), MergeHeads()

    def construct(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        query, key, value = self.split_heads(query), self.split_heads(key), self.split_heads(value)
        scores = attn_scores(query, key)  # (N, heads, Lq, Lk)
        if mask is None:
            attn_weights = ops.softmax(scores, axis=-1)
        else:
            mask_index = ops.reshape(arange(mask.shape[0]), (-1, 1))
            attn_weights = self.softmax(scores, mask, ops.broadcast_to(mask_index, (query.shape[0], self.heads)))
        return self.merge_heads(weighted_sum(attn_weights, value))

    def packed(self, qkv: Tensor) -> Tensor:
        query, key, value = qkv.chunk(3, axis=-1)
        return self.construct(query, key, value, None)


class SelfAttention(nn.Cell):
    """Multi-head self-attention, (N, L, C) -> the same: arXiv:1706.03762, section 3.2.2.

    Queries, keys and values come from one packed projection, in this order. mask: Attention's. position: (L, C), added
    to the input of queries and keys. residual: what the result is added to.
    """

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.qkv = Dense(channels, 3 * channels)
        self.proj = Dense(channels, channels)
        self.attend = Attention(heads)

    def construct(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        position: Tensor | None = None,
        residual: Tensor | None = None,
    ) -> Tensor:
        qkv = self.qkv(x)
        if mask is None and position is None:
            return self.proj(self.attend.packed(qkv), residual)
        query, key, value = qkv.chunk(3, axis=-1)
        if position is not None:
            query, key, _ = self.qkv(x + position).chunk(3, axis=-1)
        return self.proj(self.attend(query, key, value, mask), residual)


class CrossAttention(nn.Cell):
    """Multi-head attention of queries (N, Lq, C) to keys and values (N, Lk, C) -> (N, Lq, C). mask: Attention's."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.q, self.k, self.v = Dense(channels, channels), Dense(channels, channels), Dense(channels, channels)
        self.proj = Dense(channels, channels)
        self.attend = Attention(heads)

    def construct(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        return self.proj(self.attend(self.q(query), self.k(key), self.v(value), mask))


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
