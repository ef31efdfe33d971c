"""The query decoder of Mask2Former: masked attention refines queries, each of which becomes a class and a mask.

arXiv:2112.01527, section 3.2; as in mmdetection's Mask2FormerHead and detectron2's original.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, Uniform, XavierNormal, initializer

from ms_seg.cells.attention import CrossAttention, SelfAttention
from ms_seg.cells.conv import fan_in_uniform
from ms_seg.cells.mlp import MLP, Dense
from ms_seg.cells.norm import LayerNorm
from ms_seg.cells.position import SinePosition
from ms_seg.cells.precision import in_precision
from ms_seg.cells.resize import Resize
from ms_seg.cells.tokens import add_vector

LEVELS = 3
NORM_EPS = 1e-5

Prediction = tuple[Tensor, Tensor]  # class logits and mask logits


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
        _init_weights(self, channels)

    def construct(self, x: Tensor, query_embed: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """query_embed (Q, C) is added to the queries, and to the keys of self-attention; key and value are (N, L, C),
        the mask of cross-attention (N, Q, L)."""
        x = self.norm1(x + self.cross_attn(x + query_embed, key, value, mask))
        x = self.norm2(x + self.self_attn(x, position=query_embed))
        return self.norm3(x + self.mlp(x))


class QueryDecoder(nn.Cell):
    """Outputs of PixelDecoder -> (class_logits (N, Q, num_classes + 1), mask_logits (N, Q, H / 4, W / 4)).

    The last class is "no object". queries: their number, Q. layers: each attends to one of the three levels, from
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
        self.class_embed = _linear(width, num_classes + 1)
        self.mask_embed = nn.CellList([_linear(width, width) for _ in range(3)])
        self.resize = Resize()
        self.multiply, self.project = ops.BatchMatMul(), ops.MatMul()

    def construct(
        self,
        finest: Tensor,
        mask_conv: tuple[Tensor, Tensor],
        memories: Sequence[Tensor],
        sizes: Sequence[tuple[int, int]],
        return_all_layers: bool = False,
    ) -> Prediction | list[Prediction]:
        """finest and memories, from coarse to fine, with their sizes (h, w), are PixelDecoder's; mask_conv is the
        weight (C, C, 1, 1) and the bias (C,) of the convolution that would make mask features of the finest map.

        With return_all_layers: the predictions before the first layer and after each, the last being the result.
        """
        memory: tuple[Tensor, ...] = ()
        keys: tuple[Tensor, ...] = ()
        level_features: tuple[Tensor, ...] = ()
        for level in range(LEVELS):
            memory += (add_vector(memories[level], self.level_embed[level]),)
            keys += (memory[level] + self.position(sizes[level]),)
            # The references resize every query's mask to the level's size. Masks are sums of features, so the resized
            # features give the same, once for all queries and layers.
            level_features += (self.resize(finest, sizes[level]),)

        queries = ops.broadcast_to(self.query_feat, (finest.shape[0], *self.query_feat.shape))
        predictions = []
        for index, layer in enumerate(self.layers):
            level = index % LEVELS
            decoder_output = self.norm(queries)
            mask_embed = self._embed_masks(decoder_output, mask_conv)
            if return_all_layers:
                predictions.append((self.class_embed(decoder_output), self._mask_logits(mask_embed, finest)))
            mask = attention_mask(self._mask_logits(mask_embed, level_features[level]))
            queries = layer(queries, self.query_embed, keys[level], memory[level], mask)
        decoder_output = self.norm(queries)
        mask_embed = self._embed_masks(decoder_output, mask_conv)
        last = self.class_embed(decoder_output), self._mask_logits(mask_embed, finest)
        return [*predictions, last] if return_all_layers else last

    def _embed_masks(self, decoder_output: Tensor, mask_conv: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Queries (N, Q, C) -> what their masks are of the finest map: a weight (N, Q, C) and a bias (N Q,).

        A query q has the mask q (W x + b) of mask features W x + b, which is (q W) x + q b: the convolution of all
        pixels becomes a product of the queries, of which there are fewer. CPU time of the convolution, one layer's mask
        and the last, 200 queries and 1024 channels of 224x224: 2.0 s, and so 0.7 s.
        """
        weight, bias = mask_conv
        first, second, third = self.mask_embed
        x = third(ops.relu(second(ops.relu(first(decoder_output)))))
        n, queries, channels = x.shape
        rows = ops.reshape(x, (-1, channels))
        weights = in_precision(self.project, rows, ops.reshape(weight, (channels, channels)))
        biases = in_precision(self.project, rows, ops.reshape(bias, (channels, 1)))
        return ops.reshape(weights, (n, queries, channels)), ops.reshape(biases, (n * queries,))

    def _mask_logits(self, mask_embed: tuple[Tensor, Tensor], features: Tensor) -> Tensor:
        """Weights (N, Q, C), biases (N Q,) and a map (N, C, h, w) -> (N, Q, h, w)."""
        weight, bias = mask_embed
        n, channels, height, width = features.shape
        logits = in_precision(self.multiply, weight, ops.reshape(features, (n, channels, height * width)))
        # Not a sum of two shapes: see add_vector.
        logits = ops.bias_add(ops.reshape(logits, (1, n * weight.shape[1], height, width)), bias)
        return ops.reshape(logits, (n, weight.shape[1], height, width))


def attention_mask(mask_logits: Tensor) -> Tensor:
    """Mask logits (N, Q, h, w) -> what is added to attention scores, (N, Q, h w): -inf where the mask's probability is
    below a half, and 0 elsewhere.

    A query whose mask is empty attends everywhere.
    """
    n, queries, height, width = mask_logits.shape
    mask_logits = ops.stop_gradient(ops.reshape(mask_logits, (n, queries, height * width)))
    not_empty = mask_logits.max(-1, keepdims=True) >= 0
    return ops.select(ops.logical_and(mask_logits < 0, not_empty), float("-inf"), 0.0)


def _init_weights(layer: QueryLayer, channels: int) -> None:
    """Glorot's normal rule, for which the references pack queries, keys and values into one matrix."""
    packed = Normal(math.sqrt(2 / (4 * channels)))
    for dense in (layer.cross_attn.q, layer.cross_attn.k, layer.cross_attn.v, layer.self_attn.qkv):
        dense.weight.set_data(initializer(packed, dense.weight.shape))
    for dense in (layer.cross_attn.proj, layer.self_attn.proj, layer.mlp.fc1, layer.mlp.fc2):
        dense.weight.set_data(initializer(XavierNormal(), dense.weight.shape))


def _linear(in_channels: int, out_channels: int) -> Dense:
    """A linear layer with PyTorch's default initialisation."""
    dense = Dense(in_channels, out_channels)
    dense.weight.set_data(initializer(fan_in_uniform(), dense.weight.shape))
    dense.bias.set_data(initializer(Uniform(in_channels**-0.5), dense.bias.shape))
    return dense
