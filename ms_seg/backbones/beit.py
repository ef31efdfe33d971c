"""BEiT (arXiv:2106.08254): a Vision Transformer whose attention knows positions by tables of relative ones alone."""

from __future__ import annotations

import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import TruncatedNormal, initializer

from ms_seg.cells.activation import GELU
from ms_seg.cells.drop import DropPath
from ms_seg.cells.mlp import MLP, Dense
from ms_seg.cells.norm import LayerNorm, LayerScale
from ms_seg.cells.relative_attention import RelativeAttention, table_rows
from ms_seg.cells.tokens import PatchEmbed, add_vector

NORM_EPS = 1e-6
PATCH_SIZE = 16
MLP_RATIO = 4
LAYER_SCALE = 1e-6  # before training


class RelativeSelfAttention(nn.Cell):
    """Self-attention with relative position biases: tokens (N, 1 + H W, channels), the class token first -> the same.

    grid: (H, W), the patches of the only size of image that a table is for. Queries and values have biases, keys none:
    theirs would add the same to every score of a query.
    """

    def __init__(self, channels: int, heads: int, grid: tuple[int, int]):
        super().__init__()
        self.qkv = Dense(channels, 3 * channels, bias=False)
        self.q_bias, self.v_bias = (Parameter(initializer("zeros", (channels,))) for _ in range(2))
        self.k_bias = Tensor(np.zeros(channels, np.float32))
        self.relative_position_bias_table = Parameter(initializer("zeros", (table_rows(grid), heads)))
        self.attend = RelativeAttention(heads, grid)
        self.proj = Dense(channels, channels)

    def construct(self, x: Tensor) -> Tensor:
        qkv = add_vector(self.qkv(x), ops.concat((self.q_bias, self.k_bias, self.v_bias)))
        return self.proj(self.attend(qkv, self.relative_position_bias_table))


class Block(nn.Cell):
    """Attention and MLP, each after a LayerNorm and around a residual connection, to which it adds layer-scaled."""

    def __init__(self, channels: int, heads: int, grid: tuple[int, int], drop_path: float):
        super().__init__()
        self.norm1 = LayerNorm(channels, NORM_EPS)
        self.attn = RelativeSelfAttention(channels, heads, grid)
        self.norm2 = LayerNorm(channels, NORM_EPS)
        self.mlp = MLP(channels, MLP_RATIO * channels, GELU())
        self.scale1, self.scale2 = LayerScale(channels, LAYER_SCALE), LayerScale(channels, LAYER_SCALE)
        self.drop_path1, self.drop_path2 = DropPath(drop_path), DropPath(drop_path)

    def construct(self, x: Tensor) -> Tensor:
        x = self.scale1(x, self.drop_path1(self.attn(self.norm1(x))))
        return self.scale2(x, self.drop_path2(self.mlp(self.norm2(x))))


class BEiT(nn.Cell):
    """The class token, patches and blocks of BEiT, to be run in parts: see ViTAdapter. There is no final norm.

    channels, depth, heads: width, number of blocks, attention heads. grid: patches of 16 x 16 pixels on each side of an
    image, (H, W), which is of this size alone. drop_path_rate: stochastic depth of the last block, growing linearly
    from 0 at the first.
    """

    def __init__(self, channels: int, depth: int, heads: int, grid: tuple[int, int], drop_path_rate: float = 0.0):
        super().__init__()
        self.cls_token = Parameter(initializer(TruncatedNormal(0.02), (1, 1, channels)))
        self.patch_embed = PatchEmbed(3, channels, PATCH_SIZE)
        rates = np.linspace(0, drop_path_rate, depth).tolist()
        self.blocks = nn.CellList([Block(channels, heads, grid, rate) for rate in rates])

    def embed(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (N, 3, 16 H, 16 W) -> the class token (N, 1, channels) and the patches' (N, H W, channels)."""
        x, _ = self.patch_embed(images)
        return ops.broadcast_to(self.cls_token, (x.shape[0], 1, x.shape[2])), x

    def construct(self, cls_token: Tensor, x: Tensor, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """The tokens that `embed` gives, through blocks start to stop - 1."""
        x = ops.concat((cls_token, x), 1)
        for index in range(start, stop):
            x = self.blocks[index](x)
        return x[:, :1], x[:, 1:]
