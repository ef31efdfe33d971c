"""Vision Transformer (arXiv:2010.11929), and the feature pyramid that DPT builds from it (arXiv:2103.13413, sec. 3)."""

from __future__ import annotations

from collections.abc import Sequence

from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, TruncatedNormal, initializer

from ms_seg.cells.activation import GELU
from ms_seg.cells.conv import Conv2d, ConvTranspose2d, fan_in_uniform
from ms_seg.cells.mlp import Dense
from ms_seg.cells.resize import Resize
from ms_seg.cells.tokens import MapToTokens, PatchEmbed, TokensToMap
from ms_seg.cells.transformer import TransformerBlock

NORM_EPS = 1e-6  # timm's
STRIDES = (4, 8, 16, 32)
PATCHES = (16, 32)


class VisionTransformer(nn.Cell):
    """Images (N, 3, H, W) -> tokens (N, 1 + H W / patch^2, channels) after some of the blocks, the class token first.

    channels, depth, heads: width, number of blocks, attention heads. patch: pixels of a token's side. grid: tokens on a
    side of the images that the position embedding was made for; for others it is resized, bilinearly, as in lang-seg.
    out_indices: the blocks whose output is returned. There is no final norm: nothing would read its output.
    """

    def __init__(self, channels: int, depth: int, heads: int, patch: int, grid: int, out_indices: Sequence[int]):
        super().__init__()
        self.grid, self.out_indices = (grid, grid), tuple(out_indices)
        self.cls_token = Parameter(initializer(Normal(1e-6), (1, 1, channels)))
        self.pos_embed = Parameter(initializer(TruncatedNormal(0.02), (1, 1 + grid * grid, channels)))
        self.patch_embed = PatchEmbed(3, channels, patch)
        self.blocks = nn.CellList([TransformerBlock(channels, heads, GELU(), NORM_EPS) for _ in range(depth)])
        self.resize = Resize()
        self.to_map, self.to_tokens = TokensToMap(), MapToTokens()

    def construct(self, images: Tensor) -> tuple[Tensor, ...]:
        x, grid = self.patch_embed(images)
        pos_embed = self.to_map(self.pos_embed[:, 1:], self.grid)
        x = x + self.to_tokens(self.resize(pos_embed, grid))
        cls_token = self.cls_token + self.pos_embed[:, :1]
        x = ops.concat((ops.broadcast_to(cls_token, (x.shape[0], 1, x.shape[2])), x), 1)  # (N, 1 + L, C)
        features: tuple[Tensor, ...] = ()
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.out_indices:
                features += (x,)
        return features


class ViTPyramid(nn.Cell):
    """Images (N, 3, H, W) -> four maps (N, map_channels[i], H / s, W / s) with strides s = 4, 8, 16, 32.

    H and W are multiples of 32. The maps are read after each quarter of the blocks; the arguments are those of
    VisionTransformer. Raises ValueError unless depth is a multiple of 4 and patch is 16 or 32.
    """

    def __init__(self, channels: int, depth: int, heads: int, patch: int, grid: int, map_channels: Sequence[int]):
        super().__init__()
        levels = len(STRIDES)
        if depth < levels or depth % levels:
            raise ValueError(
                f"depth must be a multiple of {levels}: maps are read after each quarter of {depth} blocks"
            )
        if patch not in PATCHES:
            raise ValueError(f"patch must be one of {', '.join(map(str, PATCHES))}: it is {patch}")
        out_indices = [depth * (level + 1) // levels - 1 for level in range(levels)]
        self.vit = VisionTransformer(channels, depth, heads, patch, grid, out_indices)
        self.readout = nn.CellList([Readout(channels) for _ in STRIDES])
        self.reassemble = nn.CellList(
            [Reassemble(channels, width, patch, stride) for width, stride in zip(map_channels, STRIDES, strict=True)]
        )
        self.patch, self.out_channels = patch, tuple(map_channels)

    def construct(self, images: Tensor) -> tuple[Tensor, ...]:
        height, width = images.shape[2:]
        grid = (height // self.patch, width // self.patch)
        maps: tuple[Tensor, ...] = ()
        for level, tokens in enumerate(self.vit(images)):
            maps += (self.reassemble[level](self.readout[level](tokens), grid),)
        return maps


class Readout(nn.Cell):
    """Adds the class token to every other token: (N, 1 + L, channels) -> (N, L, channels). DPT's readout "project".

    The reference's linear layer takes a token concatenated with the class token. Its weight has two parts here, so that
    the second product is computed once for an image and not for every token.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.token = Dense(channels, channels)
        self.image = Dense(channels, channels, bias=False)
        self.gelu = GELU()

    def construct(self, x: Tensor) -> Tensor:
        return self.gelu(self.token(x[:, 1:]) + self.image(x[:, :1]))


class Reassemble(nn.Cell):
    """Tokens (N, H W / patch^2, in_channels) -> the map (N, channels, H / stride, W / stride)."""

    def __init__(self, in_channels: int, channels: int, patch: int, stride: int):
        super().__init__()
        self.project = Conv2d(in_channels, channels, 1, weight_init=fan_in_uniform())
        self.to_map = TokensToMap()
        self.resample: nn.Cell | None = None
        if patch > stride:
            self.resample = ConvTranspose2d(channels, channels, patch // stride)
        elif patch < stride:
            self.resample = Conv2d(channels, channels, 3, stride=2, padding=1, weight_init=fan_in_uniform())

    def construct(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        x = self.project(self.to_map(x, grid))
        return x if self.resample is None else self.resample(x)
