"""Mix Transformer (MiT), the encoder of SegFormer: arXiv:2105.15203, section 3.1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mindspore import Tensor, nn, ops

from ms_seg.cells.attention import Attention
from ms_seg.cells.drop import DropPath
from ms_seg.cells.mlp import Dense, MixFFN
from ms_seg.cells.norm import LayerNorm
from ms_seg.cells.tokens import OverlapPatchEmbed, TokenConv, TokensToMap


class EfficientSelfAttention(nn.Cell):
    """Attention to keys and values on a grid that is `sr_ratio` times coarser: tokens (N, H*W, C) -> the same.

    residual: what the result is added to. Raises ValueError for channels that are no multiple of heads.
    """

    def __init__(self, channels: int, heads: int, sr_ratio: int, norm_eps: float):
        super().__init__()
        if channels % heads:
            raise ValueError(f"channels must be a multiple of heads: {channels} is not a multiple of {heads}")
        self.sr_ratio = sr_ratio
        self.q = Dense(channels, channels)
        self.kv = Dense(channels, 2 * channels)
        self.proj = Dense(channels, channels)
        self.attend = Attention(heads)
        if sr_ratio > 1:
            self.sr = TokenConv(channels, channels, sr_ratio, stride=sr_ratio)
            self.sr_norm = LayerNorm(channels, norm_eps)

    def construct(self, x: Tensor, grid: tuple[int, int], residual: Tensor | None = None) -> Tensor:
        reduced = x
        if self.sr_ratio > 1:
            reduced = self.sr_norm(self.sr(ops.reshape(x, (x.shape[0], *grid, x.shape[2]))))
        key, value = self.kv(reduced).chunk(2, axis=-1)
        return self.proj(self.attend(self.q(x), key, value), residual)


class Block(nn.Cell):
    """Attention and Mix-FFN, each after a LayerNorm and around a residual connection."""

    def __init__(
        self,
        channels: int,
        heads: int,
        sr_ratio: int,
        mlp_ratio: int,
        drop_path: float,
        norm_eps: float,
        conv_norm_eps: float,
    ):
        super().__init__()
        self.norm1 = LayerNorm(channels, norm_eps)
        self.attn = EfficientSelfAttention(channels, heads, sr_ratio, conv_norm_eps)
        self.norm2 = LayerNorm(channels, norm_eps)
        self.mlp = MixFFN(channels, mlp_ratio * channels)
        self.drop_path1, self.drop_path2 = DropPath(drop_path), DropPath(drop_path)

    def construct(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        if not self.training:  # each sum is made where the branch's last product is
            x = self.attn(self.norm1(x), grid, x)
            return self.mlp(self.norm2(x), grid, x)
        x = x + self.drop_path1(self.attn(self.norm1(x), grid))
        return x + self.drop_path2(self.mlp(self.norm2(x), grid))


class Stage(nn.Cell):
    """Patch embedding, blocks, LayerNorm: (N, in_channels, H, W) -> (N, channels, ceil(H / s), ceil(W / s)), where s is
    the stride."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        heads: int,
        sr_ratio: int,
        mlp_ratio: int,
        patch_size: int,
        stride: int,
        drop_paths: Sequence[float],
        norm_eps: float,
        conv_norm_eps: float,
    ):
        super().__init__()
        self.patch_embed = OverlapPatchEmbed(in_channels, channels, patch_size, stride, conv_norm_eps)
        self.blocks = nn.CellList(
            [Block(channels, heads, sr_ratio, mlp_ratio, rate, norm_eps, conv_norm_eps) for rate in drop_paths]
        )
        self.norm = LayerNorm(channels, norm_eps)
        self.to_map = TokensToMap()

    def construct(self, x: Tensor) -> Tensor:
        x, grid = self.patch_embed(x)
        for block in self.blocks:
            x = block(x, grid)
        return self.to_map(self.norm(x), grid)


class MixTransformer(nn.Cell):
    """Images (N, 3, H, W) -> four feature maps (N, embed_dims[i], H / s, W / s) with strides s = 4, 8, 16, 32.

    embed_dims, depths, heads: channels, blocks and attention heads of each stage. sr_ratios: how much coarser its keys
    and values are, per side. mlp_ratios: how much wider its Mix-FFN is inside. patch_sizes, strides: of its overlapping
    patches; the maps' strides follow. drop_path_rate: stochastic depth of the last block, growing linearly from 0 at
    the first. norm_eps: epsilon of the blocks' and stages' LayerNorms; conv_norm_eps: of those after a convolution
    (patch embedding, spatial reduction). The references disagree on both; the defaults are transformers'.
    """

    def __init__(
        self,
        embed_dims: Sequence[int],
        depths: Sequence[int],
        heads: Sequence[int],
        sr_ratios: Sequence[int] = (8, 4, 2, 1),
        mlp_ratios: Sequence[int] = (4, 4, 4, 4),
        patch_sizes: Sequence[int] = (7, 3, 3, 3),
        strides: Sequence[int] = (4, 2, 2, 2),
        drop_path_rate: float = 0.0,
        norm_eps: float = 1e-5,
        conv_norm_eps: float = 1e-5,
    ):
        super().__init__()
        stages = (embed_dims, depths, heads, sr_ratios, mlp_ratios, patch_sizes, strides)
        if len({len(sizes) for sizes in stages}) > 1:
            raise ValueError(f"sizes must be as many as stages, {len(embed_dims)}: {stages} are not")
        rates = np.linspace(0, drop_path_rate, sum(depths)).tolist()
        starts = np.cumsum([0, *depths])
        in_channels, self.out_channels = (3, *embed_dims), tuple(embed_dims)
        self.stages = nn.CellList(
            [
                Stage(
                    in_channels[i],
                    embed_dims[i],
                    heads[i],
                    sr_ratios[i],
                    mlp_ratios[i],
                    patch_sizes[i],
                    strides[i],
                    rates[starts[i] : starts[i + 1]],
                    norm_eps,
                    conv_norm_eps,
                )
                for i in range(len(depths))
            ]
        )

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        features: tuple[Tensor, ...] = ()
        for stage in self.stages:
            x = stage(x)
            features += (x,)
        return features
