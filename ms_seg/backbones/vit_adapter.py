"""ViT-Adapter (arXiv:2205.08534): a plain transformer, here BEiT, and beside it an adapter that gives it scales."""

from __future__ import annotations

from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer

from ms_seg.backbones.beit import LAYER_SCALE, NORM_EPS, PATCH_SIZE, BEiT
from ms_seg.cells.activation import GELU
from ms_seg.cells.conv import Conv2d, ConvNormReLU, ConvTranspose2d, DepthwiseConv2d, fan_out_normal
from ms_seg.cells.deformable_attention import DeformableAttention, spatial_shapes
from ms_seg.cells.drop import DropPath
from ms_seg.cells.mlp import Dense
from ms_seg.cells.norm import BatchNorm2d, LayerNorm, LayerScale
from ms_seg.cells.position import pixel_centres
from ms_seg.cells.resize import Resize
from ms_seg.cells.tokens import MapToTokens, TokensToMap, add_vector

INTERACTIONS = 4  # parts that the transformer's blocks are run in, an injector before each and an extractor after
EXTRA_EXTRACTORS = 2  # after the last
POINTS = 4
VALUE_RATIO = 0.5  # channels of deformable attention's values
FFN_RATIO = 0.25


class SpatialPrior(nn.Cell):
    """The spatial prior module (section 3.2): images (N, 3, H, W) -> a map (N, channels, H / 4, W / 4), and tokens
    (N, h w, channels) of strides 8, 16 and 32. width: channels of the first map's convolutions."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        widths = (width, 2 * width, 4 * width, 4 * width)
        self.stem = nn.SequentialCell(
            ConvNormReLU(3, width, 3, stride=2), ConvNormReLU(width, width, 3), ConvNormReLU(width, width, 3)
        )
        self.pool = nn.MaxPool2d(3, stride=2, pad_mode="pad", padding=1)
        self.down = nn.CellList([ConvNormReLU(widths[i], widths[i + 1], 3, stride=2) for i in range(3)])
        self.project = nn.CellList([Conv2d(w, channels, 1) for w in widths])
        self.to_tokens = MapToTokens()

    def construct(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x1 = self.pool(self.stem(images))
        x2 = self.down[0](x1)
        x3 = self.down[1](x2)
        x4 = self.down[2](x3)
        project1, project2, project3, project4 = self.project
        return project1(x1), self.to_tokens(project2(x2)), self.to_tokens(project3(x3)), self.to_tokens(project4(x4))


class AdapterAttention(nn.Cell):
    """Deformable attention of normalised queries to normalised features: (N, Lq, C), (N, Lv, C) -> (N, Lq, C).

    add_query: whether the result has the normalised query added to it, as in ModelScope's arithmetic.
    """

    def __init__(self, channels: int, heads: int, levels: int, add_query: bool):
        super().__init__()
        self.add_query = add_query
        self.query_norm, self.feature_norm = LayerNorm(channels, NORM_EPS), LayerNorm(channels, NORM_EPS)
        self.attn = DeformableAttention(channels, heads, levels, POINTS, value_channels=int(VALUE_RATIO * channels))

    def construct(self, query: Tensor, features: Tensor, reference_points: Tensor, shapes: Tensor) -> Tensor:
        query = self.query_norm(query)
        attended = self.attn(query, self.feature_norm(features), reference_points, shapes)
        return attended + query if self.add_query else attended


class Injector(nn.Cell):
    """The spatial feature injector (section 3.3): the transformer's tokens look at the adapter's three levels."""

    def __init__(self, channels: int, heads: int, add_query: bool):
        super().__init__()
        self.attend = AdapterAttention(channels, heads, 3, add_query)
        self.scale = LayerScale(channels, LAYER_SCALE)

    def construct(self, x: Tensor, c: Tensor, reference_points: Tensor, shapes: Tensor) -> Tensor:
        return self.scale(x, self.attend(x, c, reference_points, shapes))


class Extractor(nn.Cell):
    """The multi-scale feature extractor (section 3.4): the adapter's three levels look at the transformer's tokens."""

    def __init__(self, channels: int, heads: int, add_query: bool, sizes: tuple[tuple[int, int], ...], drop: float):
        super().__init__()
        self.attend = AdapterAttention(channels, heads, 1, add_query)
        self.ffn_norm = LayerNorm(channels, NORM_EPS)
        self.ffn = ConvFFN(channels, int(FFN_RATIO * channels), sizes)
        self.drop_path = DropPath(drop)

    def construct(self, c: Tensor, x: Tensor, reference_points: Tensor, shapes: Tensor) -> Tensor:
        c = c + self.attend(c, x, reference_points, shapes)
        return c + self.drop_path(self.ffn(self.ffn_norm(c)))


class ConvFFN(nn.Cell):
    """Linear, depthwise 3x3 convolution of each level by itself, GELU, linear: tokens (N, L, channels) -> the same.

    sizes: (H, W) of the levels whose tokens stand one after the other.
    """

    def __init__(self, channels: int, hidden: int, sizes: tuple[tuple[int, int], ...]):
        super().__init__()
        self.sizes = sizes
        self.fc1 = Dense(channels, hidden)
        self.dwconv = DepthwiseConv2d(hidden)
        self.to_map, self.to_tokens = TokensToMap(), MapToTokens()
        self.gelu = GELU()
        self.fc2 = Dense(hidden, channels)

    def construct(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        levels: tuple[Tensor, ...] = ()
        for level, tokens in enumerate(split_levels(x, self.sizes)):
            levels += (self.to_tokens(self.dwconv(self.to_map(tokens, self.sizes[level]))),)
        return self.fc2(self.gelu(ops.concat(levels, 1)))


class ViTAdapter(nn.Cell):
    """Images (N, 3, 16 grid, 16 grid) -> four maps (N, channels, H / s, W / s) with strides s = 4, 8, 16, 32.

    channels, depth, heads: of BEiT. grid: patches on a side of the images, an even number: tables of relative positions
    are for one size alone. deform_heads: of the adapter's attention. prior_width: channels of SpatialPrior.
    drop_path_rate: stochastic depth of BEiT's last block, and of every extractor's ConvFFN.

    add_query: weights that were trained or published with ModelScope need it, those of the original must not have it;
    both have the same names and shapes. In mmcv's deformable attention, which ModelScope put in the original's place,
    the query is added to the result.

    Raises ValueError for a depth that is not a multiple of 4, an odd grid, and images of another size.
    """

    def __init__(
        self,
        channels: int,
        depth: int,
        heads: int,
        grid: int,
        deform_heads: int,
        prior_width: int,
        add_query: bool = False,
        drop_path_rate: float = 0.0,
    ):
        super().__init__()
        if depth < INTERACTIONS or depth % INTERACTIONS:
            raise ValueError(f"depth must be a multiple of {INTERACTIONS}, the parts they are run in: {depth} is not")
        if grid < 2 or grid % 2:
            raise ValueError(f"grid must be even, for a map of half as many pixels on a side: it is {grid}")
        fine, middle, coarse = self.sizes = ((2 * grid, 2 * grid), (grid, grid), (grid // 2, grid // 2))
        self.side, self.depth, self.out_channels = PATCH_SIZE * grid, depth, (channels,) * 4

        self.beit = BEiT(channels, depth, heads, middle, drop_path_rate)
        self.prior = SpatialPrior(channels, prior_width)
        self.level_embed = Parameter(initializer(Normal(1.0), (3, channels)))
        self.injectors = nn.CellList([Injector(channels, deform_heads, add_query) for _ in range(INTERACTIONS)])
        self.extractors, self.extra_extractors = (
            nn.CellList(
                [Extractor(channels, deform_heads, add_query, self.sizes, drop_path_rate) for _ in range(number)]
            )
            for number in (INTERACTIONS, EXTRA_EXTRACTORS)
        )
        # Where the transformer's tokens look into the adapter's levels, and the levels' into the transformer's.
        self.patch_centres, self.adapter_shapes = pixel_centres(middle), spatial_shapes(self.sizes)
        self.adapter_centres = ops.concat([pixel_centres(size) for size in self.sizes])
        self.patch_shapes = spatial_shapes((middle,))

        self.up = ConvTranspose2d(channels, channels, 2)
        self.up.weight.set_data(initializer(fan_out_normal(2, channels), self.up.weight.shape))
        self.norm1, self.norm2, self.norm3, self.norm4 = (BatchNorm2d(channels) for _ in range(4))
        self.resize, self.to_map = Resize(), TokensToMap()

    @property
    def layer_prefixes(self) -> tuple[tuple[str, ...], ...]:
        """What the names of parameters in each of BEiT's layers begin with, for layer decay; the adapter is above."""
        blocks = ((f"beit.blocks.{index}.",) for index in range(self.depth))
        return (("beit.cls_token", "beit.patch_embed."), *blocks)

    def construct(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if images.shape[2:] != (self.side, self.side):
            raise ValueError(f"images must be of {self.side}x{self.side} pixels, for which the tables of positions are")
        fine, middle, coarse = self.sizes
        c1, c2, c3, c4 = self.prior(images)
        c = ops.concat([add_vector(x, self.level_embed[level]) for level, x in enumerate((c2, c3, c4))], 1)
        cls_token, x = self.beit.embed(images)

        features: tuple[Tensor, ...] = ()  # the transformer's, after each part of its blocks
        blocks = self.depth // INTERACTIONS
        for part in range(INTERACTIONS):
            x = self.injectors[part](x, c, self.patch_centres, self.adapter_shapes)
            cls_token, x = self.beit(cls_token, x, part * blocks, (part + 1) * blocks)
            c = self.extractors[part](c, x, self.adapter_centres, self.patch_shapes)
            features += (self.to_map(x, middle),)
        for extractor in self.extra_extractors:
            c = extractor(c, x, self.adapter_centres, self.patch_shapes)

        c2, c3, c4 = split_levels(c, self.sizes)
        c2, c3, c4 = self.to_map(c2, fine), self.to_map(c3, middle), self.to_map(c4, coarse)
        c1 = c1 + self.up(c2)
        x1, x2, x3, x4 = features
        return (
            self.norm1(c1 + self.resize(x1, (2 * fine[0], 2 * fine[1]))),
            self.norm2(c2 + self.resize(x2, fine)),
            self.norm3(c3 + x3),
            self.norm4(c4 + self.resize(x4, coarse)),
        )


def split_levels(x: Tensor, sizes: tuple[tuple[int, int], ...]) -> tuple[Tensor, ...]:
    """Tokens (N, L, C) of maps (H, W), one after the other -> those of each, (N, H W, C)."""
    levels: tuple[Tensor, ...] = ()
    start = 0
    for height, width in sizes:
        levels += (x[:, start : start + height * width],)
        start = start + height * width
    return levels
