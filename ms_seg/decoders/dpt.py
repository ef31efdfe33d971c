"""The fusion decoder of DPT (arXiv:2103.13413, section 3), which ends in a feature for each pixel, as in lang-seg."""

from __future__ import annotations

from collections.abc import Sequence

from mindspore import Tensor, nn, ops

from ms_seg.cells.conv import Conv2d, fan_in_uniform
from ms_seg.cells.norm import BatchNorm2d, affine
from ms_seg.cells.resize import Resize


class ResidualUnit(nn.Cell):
    """ReLU, 3x3 convolution and batch norm, twice, and a residual connection: (N, features, H, W) -> the same."""

    def __init__(self, features: int):
        super().__init__()
        self.conv1, self.norm1 = _conv3x3(features, features), BatchNorm2d(features)
        self.conv2, self.norm2 = _conv3x3(features, features), BatchNorm2d(features)

    def construct(self, x: Tensor) -> Tensor:
        y = ops.relu(x)
        if self.conv1.joins_norm():
            y = self.conv1.norm_relu(y, *affine(self.norm1))
            return self.conv2.norm_residual(y, *affine(self.norm2), x)
        y = ops.relu(self.norm1(self.conv1(y)))
        return x + self.norm2(self.conv2(y))


class Fusion(nn.Cell):
    """Adds a level to the output of the coarser ones, (N, features, H, W) both -> the same.

    The coarsest level has nothing to be added to; there the reference's block has an unused `skip_unit`.
    """

    def __init__(self, features: int, coarsest: bool):
        super().__init__()
        self.skip_unit = None if coarsest else ResidualUnit(features)
        self.unit = ResidualUnit(features)
        self.out_conv = Conv2d(features, features, 1, weight_init=fan_in_uniform())

    def construct(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        if self.skip_unit is not None:
            x = x + self.skip_unit(skip)
        return self.out_conv(self.unit(x))


class Double(nn.Cell):
    """(N, C, H, W) -> (N, C, 2H, 2W), corner on corner as in the reference."""

    def __init__(self) -> None:
        super().__init__()
        self.resize = Resize(align_corners=True)

    def construct(self, x: Tensor) -> Tensor:
        return self.resize(x, (2 * x.shape[2], 2 * x.shape[3]))


class DPTDecoder(nn.Cell):
    """Four maps of strides 4 to 32, of in_channels[i] -> features of pixels (N, embed_dim, H / 2, W / 2).

    Each map must be twice as large as the next: H and W are multiples of 32. features: channels of the decoder.
    """

    def __init__(self, in_channels: Sequence[int], features: int, embed_dim: int):
        super().__init__()
        levels = len(in_channels)
        self.project = nn.CellList([_conv3x3(channels, features) for channels in in_channels])
        self.fuse = nn.CellList([Fusion(features, coarsest=level == levels - 1) for level in range(levels)])
        self.head = Conv2d(features, embed_dim, 1, weight_init=fan_in_uniform())
        self.double = nn.CellList([Double() for _ in range(levels)])

    def construct(self, maps: tuple[Tensor, ...]) -> Tensor:
        x = self.fuse[3](self.project[3](maps[3]))
        for level in (2, 1, 0):
            x = self.fuse[level](self.double[level + 1](x), self.project[level](maps[level]))
        # The reference doubles a level before its `out_conv`, and the last before the head. 1x1 convolutions commute
        # with that, and cost a quarter where they come first.
        return self.double[0](self.head(x))


def _conv3x3(in_channels: int, channels: int) -> Conv2d:
    return Conv2d(in_channels, channels, 3, padding=1, bias=False, weight_init=fan_in_uniform())
