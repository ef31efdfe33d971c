"""ResNet with bottlenecks (arXiv:1512.03385) as torchvision builds it: a block's stride is in its 3x3 convolution."""

from __future__ import annotations

from collections.abc import Sequence

from mindspore import Tensor, nn, ops

from ms_seg.cells.conv import Conv2d, ConvNormReLU
from ms_seg.cells.norm import BatchNorm2d, FrozenBatchNorm2d

STEM_CHANNELS = 64
EXPANSION = 4  # output channels of a bottleneck, in multiples of those inside


class ConvNorm(nn.Cell):
    """A 1x1 convolution without bias, and batch norm."""

    def __init__(self, in_channels: int, channels: int, stride: int, frozen_norm: bool):
        super().__init__()
        self.conv = Conv2d(in_channels, channels, 1, stride, bias=False)
        self.norm = FrozenBatchNorm2d(channels) if frozen_norm else BatchNorm2d(channels)

    def construct(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class Bottleneck(nn.Cell):
    """1x1, 3x3, 1x1 convolutions and a residual connection: (N, in_channels, H, W) -> (N, 4 channels, H', W')."""

    def __init__(self, in_channels: int, channels: int, stride: int, frozen_norms: bool):
        super().__init__()
        self.reduce = ConvNormReLU(in_channels, channels, 1, 1, frozen_norms)
        self.spatial = ConvNormReLU(channels, channels, 3, stride, frozen_norms)
        self.expand = ConvNorm(channels, EXPANSION * channels, 1, frozen_norms)
        changes = stride > 1 or in_channels != EXPANSION * channels
        self.shortcut = ConvNorm(in_channels, EXPANSION * channels, stride, frozen_norms) if changes else None

    def construct(self, x: Tensor) -> Tensor:
        y = self.expand(self.spatial(self.reduce(x)))
        return ops.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class Stage(nn.Cell):
    """Bottlenecks, the first of which has the stride: (N, in_channels, H, W) -> (N, 4 channels, H / s, W / s)."""

    def __init__(self, in_channels: int, channels: int, depth: int, stride: int, frozen_norms: bool):
        super().__init__()
        first = Bottleneck(in_channels, channels, stride, frozen_norms)
        others = [Bottleneck(EXPANSION * channels, channels, 1, frozen_norms) for _ in range(depth - 1)]
        self.blocks = nn.CellList([first, *others])

    def construct(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class ResNet(nn.Cell):
    """Images (N, 3, H, W) -> four maps of 256, 512, 1024, 2048 channels, with strides 4, 8, 16, 32; sizes round up.

    depths: bottlenecks of each stage, (3, 4, 6, 3) for ResNet-50 and (3, 4, 23, 3) for ResNet-101. stem_channels: also
    the channels inside the first stage's bottlenecks; each further stage doubles them. frozen_norms: batch norms keep
    their statistics, scales and shifts in training, as is usual in detection, where batches are small.
    """

    def __init__(self, depths: Sequence[int], stem_channels: int = STEM_CHANNELS, frozen_norms: bool = False):
        super().__init__()
        self.stem = ConvNormReLU(3, stem_channels, 7, 2, frozen_norms)
        # ops.max_pool2d is as fast, but its gradient takes minutes on the CPU.
        self.pool = nn.MaxPool2d(3, stride=2, pad_mode="pad", padding=1)
        inside = [stem_channels * 2**level for level in range(len(depths))]  # the bottlenecks of each stage
        self.out_channels = tuple(EXPANSION * channels for channels in inside)
        in_channels = (stem_channels, *self.out_channels)
        self.stages = nn.CellList(
            [
                Stage(in_channels[level], inside[level], depth, 1 if level == 0 else 2, frozen_norms)
                for level, depth in enumerate(depths)
            ]
        )

    def construct(self, images: Tensor) -> tuple[Tensor, ...]:
        x = self.pool(self.stem(images))
        maps: tuple[Tensor, ...] = ()
        for stage in self.stages:
            x = stage(x)
            maps += (x,)
        return maps
