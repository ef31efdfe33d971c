"""CLIP's text transformer: arXiv:2103.00020, section 2.4; OpenAI's clip/model.py."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer

from ms_seg.cells.activation import QuickGELU
from ms_seg.cells.norm import LayerNorm
from ms_seg.cells.precision import in_precision
from ms_seg.cells.transformer import TransformerBlock

NORM_EPS = 1e-5


class TextTransformer(nn.Cell):
    """Tokens (K, L) int32, from `Tokenizer` -> features (K, embed_dim) float32, one for each text, not normalised.

    L is at most `context_length`: attention is causal, so that trailing columns of padding may be cut off without
    changing the features. A text's feature is read at its largest token, the end-of-text token; so `vocabulary` must be
    the tokenizer's length.
    """

    def __init__(
        self, width: int, heads: int, layers: int, embed_dim: int, vocabulary: int = 49_408, context_length: int = 77
    ):
        super().__init__()
        self.token_embedding = Parameter(initializer(Normal(0.02), (vocabulary, width)))
        self.pos_embed = Parameter(initializer(Normal(0.01), (context_length, width)))
        self.blocks = nn.CellList([TransformerBlock(width, heads, QuickGELU(), NORM_EPS) for _ in range(layers)])
        self.norm = LayerNorm(width, NORM_EPS)
        self.proj = Parameter(initializer(Normal(width**-0.5), (width, embed_dim)))
        for block in self.blocks:
            _init_weights(block, width, layers)
        hidden = np.full((context_length, context_length), -np.inf, np.float32)
        self.causal_mask = Tensor(np.triu(hidden, 1)[None])
        self.project = ops.MatMul()

    def construct(self, tokens: Tensor) -> Tensor:
        texts, length = tokens.shape
        x = ops.gather(self.token_embedding, tokens, 0) + self.pos_embed[:length]  # (K, L, W)
        mask = self.causal_mask[:, :length, :length]
        for block in self.blocks:
            x = block(x, mask)
        end = ops.argmax(tokens.astype(ms.float32), 1) + length * ops.arange(texts)  # rows of the end-of-text tokens
        x = ops.gather(ops.reshape(x, (texts * length, -1)), end, 0)  # (K, W)
        return in_precision(self.project, self.norm(x), self.proj)


def _init_weights(block: TransformerBlock, width: int, layers: int) -> None:
    """As in the paper's code: deviations scale with the input's width, and on the residual path with depth as well."""
    residual = (2 * layers * width) ** -0.5
    deviations = (
        (block.attn.qkv, width**-0.5),
        (block.attn.proj, residual),
        (block.mlp.fc1, (2 * width) ** -0.5),
        (block.mlp.fc2, residual),
    )
    for dense, deviation in deviations:
        dense.weight.set_data(initializer(Normal(deviation), dense.weight.shape))
