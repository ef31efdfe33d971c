"""The query decoder of Mask2Former: queries that look at what they take for their own, and become masks and classes.

arXiv:2112.01527, section 3.2; as in mmdetection's Mask2FormerHead and detectron2's original.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, Uniform, XavierNormal, initializer

from ms_seg.cells.attention import CrossAttention, SelfAttention
from ms_seg.cells.conv import fan_in_uniform
from ms_seg.cells.dense import Dense
from ms_seg.cells.mlp import MLP
from ms_seg.cells.norm import LayerNorm
from ms_seg.cells.position import SinePosition
from ms_seg.cells.precision import product
from ms_seg.cells.resize import Resize

LEVELS = 3
NORM_EPS = 1e-5

Prediction = tuple[Tensor, Tensor]


class QueryLayer(nn.Cell):
    """Masked cross-attention, self-attention and MLP, each with a LayerNorm after its residual connection.

    Queries (N, Q, C) -> the same.
    """

    def __init__(self, channels: int, heads: int, hidden: int):
        super().__init__()
        self.cross_attn = CrossAttention(channels, heads)
        self.norm1 = LayerNorm(channels, NORM_EPS)
        self.self_attn = SelfAttention(channels, heads)
        self.norm2 = LayerNorm(channels, NORM_EPS)
        self.mlp = MLP(channels, hidden, nn.ReLU())
        self.norm3 = LayerNorm(channels, NORM_EPS)
        _start_as_glorot(self, channels)

    def construct(self, x: Tensor, query_embed: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """query_embed (Q, C) is added to queries, and keys; key and value are (N, L, C), mask (N, Q, L)."""
        x = self.norm1(x + self.cross_attn(x + query_embed, key, value, mask))
        x = self.norm2(x + self.self_attn(x, position=query_embed))
        return self.norm3(x + self.mlp(x))


class QueryDecoder(nn.Cell):
    """What PixelDecoder gives -> (class_logits (N, Q, num_classes + 1), mask_logits (N, Q, H / 4, W / 4)).

    The last class is no object. queries: how many there are, Q. layers: each looks at one of the three levels, from
    coarse to fine and again. heads, hidden: of their attention, and channels within their MLPs.
    """

    def __init__(self, num_classes: int, queries: int, width: int, heads: int, layers: int, hidden: int):
        super().__init__()
        self.query_feat = Parameter(initializer(Normal(1.0), (queries, width)))
        self.query_embed = Parameter(initializer(Normal(1.0), (queries, width)))
        self.level_embed = Parameter(initializer(Normal(1.0), (LEVELS, width)))
        self.position = SinePosition(width)
        self.layers = nn.CellList([QueryLayer(width, heads, hidden) for _ in range(layers)])
        self.norm = LayerNorm(width, NORM_EPS)
        self.class_embed = _dense(width, num_classes + 1)
        self.mask_embed = nn.CellList([_dense(width, width) for _ in range(3)])
        self.resize = Resize()
        self.multiply = ops.BatchMatMul()

    def construct(
        self,
        mask_features: Tensor,
        memories: Sequence[Tensor],
        sizes: Sequence[tuple[int, int]],
        return_all_layers: bool = False,
    ) -> Prediction | list[Prediction]:
        """With return_all_layers the predictions before the first and after each layer, the last being the answer."""
        values, keys, small_features = (), (), ()
        for level in range(LEVELS):
            value = memories[level] + self.level_embed[level]
            values += (value,)
            keys += (value + self.position(sizes[level]),)
            # The references resize every query's mask to the level's size. Masks are sums of features, so the resized
            # features give the same, once for all queries and layers.
            small_features += (self.resize(mask_features, sizes[level]),)

        x = ops.broadcast_to(self.query_feat, (mask_features.shape[0], *self.query_feat.shape))
        predictions = []
        for index, layer in enumerate(self.layers):
            level = index % LEVELS
            normal = self.norm(x)
            vectors = self._mask_vectors(normal)
            if return_all_layers:
                predictions.append((self.class_embed(normal), self._masks(vectors, mask_features)))
            mask = attention_mask(self._masks(vectors, small_features[level]))
            x = layer(x, self.query_embed, keys[level], values[level], mask)
        normal = self.norm(x)
        answer = self.class_embed(normal), self._masks(self._mask_vectors(normal), mask_features)
        return [*predictions, answer] if return_all_layers else answer

    def _mask_vectors(self, queries: Tensor) -> Tensor:
        first, second, third = self.mask_embed
        return third(ops.relu(second(ops.relu(first(queries)))))

    def _masks(self, vectors: Tensor, features: Tensor) -> Tensor:
        """(N, Q, C), (N, C, h, w) -> logits (N, Q, h, w)."""
        n, channels, height, width = features.shape
        logits = product(self.multiply, vectors, ops.reshape(features, (n, channels, height * width)))
        return ops.reshape(logits, (n, vectors.shape[1], height, width))


def attention_mask(logits: Tensor) -> Tensor:
    """Masks (N, Q, h, w) -> what is added to scores, (N, Q, h w): -inf where a mask's probability is below a half.

    A query whose mask is empty looks everywhere.
    """
    n, queries, height, width = logits.shape
    logits = ops.stop_gradient(ops.reshape(logits, (n, queries, height * width)))
    somewhere = logits.max(-1, keepdims=True) >= 0
    return ops.select(ops.logical_and(logits < 0, somewhere), float("-inf"), 0.0)


def _start_as_glorot(layer: QueryLayer, channels: int) -> None:
    """Matrices by Glorot's normal rule, for which the references pack queries, keys and values into one matrix."""
    packed = Normal(math.sqrt(2 / (4 * channels)))
    for dense in (layer.cross_attn.q, layer.cross_attn.k, layer.cross_attn.v, layer.self_attn.qkv):
        dense.weight.set_data(initializer(packed, dense.weight.shape))
    for dense in (layer.cross_attn.proj, layer.self_attn.proj, layer.mlp.fc1, layer.mlp.fc2):
        dense.weight.set_data(initializer(XavierNormal(), dense.weight.shape))


def _dense(in_channels: int, out_channels: int) -> Dense:
    """A linear layer that starts as PyTorch's own does."""
    dense = Dense(in_channels, out_channels)
    dense.weight.set_data(initializer(fan_in_uniform(), dense.weight.shape))
    dense.bias.set_data(initializer(Uniform(in_channels**-0.5), dense.bias.shape))
    return dense
