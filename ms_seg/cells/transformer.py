"""The pre-norm block that vision transformers and CLIP's text transformer are stacks of."""

from __future__ import annotations

from mindspore import Tensor, nn

from ms_seg.cells.attention import SelfAttention
from ms_seg.cells.mlp import MLP
from ms_seg.cells.norm import LayerNorm

MLP_RATIO = 4


class TransformerBlock(nn.Cell):
    """Self-attention and MLP, each after a LayerNorm and around a residual connection: tokens (N, L, C) -> the same.

    arXiv:2010.11929, equations 2 and 3.
    """

    def __init__(self, channels: int, heads: int, activation: nn.Cell, norm_eps: float):
        super().__init__()
        self.norm1 = LayerNorm(channels, norm_eps)
        self.attn = SelfAttention(channels, heads)
        self.norm2 = LayerNorm(channels, norm_eps)
        self.mlp = MLP(channels, MLP_RATIO * channels, activation)

    def construct(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """mask: (1, L, L), Attention's."""
        x = self.attn(self.norm1(x), mask, residual=x)
        return self.mlp(self.norm2(x), x)
