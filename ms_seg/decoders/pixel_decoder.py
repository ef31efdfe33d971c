"""The pixel decoder of Mask2Former: deformable attention over three levels, then one step of a feature pyramid network.

arXiv:2112.01527, section 4.1; as in mmdetection's MSDeformAttnPixelDecoder and detectron2's original.
"""

from __future__ import annotations

from collections.abc import Sequence

from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import HeUniform, Initializer, Normal, XavierNormal, XavierUniform, initializer

from ms_seg.cells.conv import Conv2d
from ms_seg.cells.deformable_attention import DeformableAttention, spatial_shapes
from ms_seg.cells.mlp import MLP
from ms_seg.cells.norm import GroupNorm, LayerNorm
from ms_seg.cells.position import SinePosition, pixel_centres
from ms_seg.cells.resize import Resize
from ms_seg.cells.tokens import MapToTokens, TokensToMap, add_vector

LEVELS = 3  # the coarser three of the backbone's four maps attend and are attended to
NORM_EPS = 1e-5
_GROUPS = 32


class ConvGroupNorm(nn.Cell):
    """A convolution that keeps the size, then group norm: (N, in_channels, H, W) -> (N, channels, H, W)."""

    def __init__(self, in_channels: int, channels: int, kernel: int, bias: bool, weight_init: Initializer):
        super().__init__()
        self.conv = Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=bias, weight_init=weight_init)
        self.norm = GroupNorm(_GROUPS, channels)

    def construct(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class DeformableLayer(nn.Cell):
    """Deformable self-attention and MLP, each with a LayerNorm after its residual connection: (N, L, C) -> the same."""

    def __init__(self, channels: int, heads: int, points: int, hidden: int):
        super().__init__()
        self.self_attn = DeformableAttention(channels, heads, LEVELS, points)
        self.norm1 = LayerNorm(channels, NORM_EPS)
        self.mlp = MLP(channels, hidden, nn.ReLU())
        self.norm2 = LayerNorm(channels, NORM_EPS)
        for dense in (self.mlp.fc1, self.mlp.fc2):
            dense.weight.set_data(initializer(XavierNormal(), dense.weight.shape))

    def construct(self, x: Tensor, position: Tensor, reference_points: Tensor, shapes: Tensor) -> Tensor:
        x = self.norm1(x + self.self_attn(x + position, x, reference_points, shapes))
        return self.norm2(x + self.mlp(x))


class PixelDecoder(nn.Cell):
    """Four maps of strides 4 to 32 and of in_channels[i] -> the finest map, and a memory for each of three levels.

    The finest map is (N, width, H / 4, W / 4). Its mask features are what the 1x1 convolution `mask_features` would
    make of it: QueryDecoder needs the convolution's weight and bias alone. The memories are tokens (N, h w, width) of
    stride 32, 16 and 8, in this order, and come with their sizes (h, w). Maps may have any size.

    heads, points: of DeformableAttention. layers, hidden: number of encoder layers, and channels within their MLPs.
    width must be a multiple of 32, the groups of group norm.
    """

    def __init__(self, in_channels: Sequence[int], width: int, heads: int, points: int, layers: int, hidden: int):
        super().__init__()
        coarse_to_fine = in_channels[:0:-1]
        self.input_proj = nn.CellList([ConvGroupNorm(c, width, 1, True, XavierUniform()) for c in coarse_to_fine])
        self.position = SinePosition(width)
        self.level_embed = Parameter(initializer(Normal(1.0), (LEVELS, width)))
        self.layers = nn.CellList([DeformableLayer(width, heads, points, hidden) for _ in range(layers)])
        self.lateral = ConvGroupNorm(in_channels[0], width, 1, False, _caffe2_xavier())
        self.output = ConvGroupNorm(width, width, 3, False, _caffe2_xavier())
        self.mask_features = Conv2d(width, width, 1, weight_init=_caffe2_xavier())
        self.resize, self.to_map, self.to_tokens = Resize(), TokensToMap(), MapToTokens()

    def construct(self, maps: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...], tuple[tuple[int, int], ...]]:
        tokens: tuple[Tensor, ...] = ()
        positions: tuple[Tensor, ...] = ()
        centres: tuple[Tensor, ...] = ()
        sizes: tuple[tuple[int, int], ...] = ()
        for level in range(LEVELS):
            projected = self.input_proj[level](maps[LEVELS - level])
            size = projected.shape[2:]
            tokens += (self.to_tokens(projected),)
            positions += (add_vector(self.position(size), self.level_embed[level]),)
            centres += (pixel_centres(size),)
            sizes += (size,)
        x, position, reference_points = ops.concat(tokens, 1), ops.concat(positions, 1), ops.concat(centres, 0)
        shapes = spatial_shapes(sizes)
        for layer in self.layers:
            x = layer(x, position, reference_points, shapes)

        memories: tuple[Tensor, ...] = ()
        start = 0
        for height, width in sizes:
            memories += (x[:, start : start + height * width],)
            start = start + height * width
        lateral = self.lateral(maps[0])
        top_down = self.resize(self.to_map(memories[-1], sizes[-1]), lateral.shape[2:])
        return ops.relu(self.output(lateral + top_down)), memories, sizes


def _caffe2_xavier() -> Initializer:
    """Uniform within sqrt(3 / fan_in)."""
    return HeUniform(negative_slope=1)
