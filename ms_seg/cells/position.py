"""Positions: of tokens, and of the pixels of a feature map, as indices, coordinates and encodings."""

from __future__ import annotations

import math

import mindspore as ms
from mindspore import Tensor, nn, ops

_TEMPERATURE = 10_000.0
_EPSILON = 1e-6  # the reference's, in the extent that positions are divided by


def arange(stop: int) -> Tensor:
    """0 to stop - 1, int32. MindSpore's compiler takes 20 ms for each ops.arange that it meets, and none for this."""
    return ops.range(0, stop, 1).astype(ms.int32)


class SinePosition(nn.Cell):
    """A map's size (H, W) -> its sine position encoding (1, H * W, channels) float32, row by row: of y, then of x.

    arXiv:2005.12872, appendix A.4, as Mask2Former has it: positions count from 1 and are divided by the map's extent,
    which is a full turn; channel 2i of each half has the sine, and 2i + 1 the cosine, of the position over
    10000^(2i / (channels / 2)). Raises ValueError unless channels is a multiple of 4.

    The first axis is there for sums with tokens: of two shapes they leave 16 bytes for each element behind on the CPU,
    for as long as the graph lives.
    """

    def __init__(self, channels: int):
        super().__init__()
        if channels % 4:
            raise ValueError(f"channels must be a multiple of 4, for sines and cosines of two axes: it is {channels}")
        pairs = channels // 4
        self.frequencies = Tensor([_TEMPERATURE ** -(i / pairs) for i in range(pairs)], ms.float32)
        self.half = channels // 2

    def construct(self, size: tuple[int, int]) -> Tensor:
        height, width = size
        shape = (height, width, self.half)
        rows = ops.broadcast_to(ops.reshape(self._waves(height), (height, 1, self.half)), shape)
        columns = ops.broadcast_to(ops.reshape(self._waves(width), (1, width, self.half)), shape)
        return ops.reshape(ops.concat((rows, columns), -1), (1, height * width, 2 * self.half))

    def _waves(self, extent: int) -> Tensor:
        """(extent, channels / 2)."""
        # ops.arange: a graph for every size of a ResNet's maps does not compile with ops.range here (MindSpore 2.8).
        turns = (ops.arange(extent).astype(ms.float32) + 1) / (extent + _EPSILON)
        angles = ops.reshape(turns * (2 * math.pi), (extent, 1)) * self.frequencies
        return ops.reshape(ops.stack((ops.sin(angles), ops.cos(angles)), -1), (extent, self.half))


def pixel_centres(size: tuple[int, int]) -> Tensor:
    """A map's size (H, W) -> the centres of its pixels, (H * W, 2) float32, as (x, y) from 0 to 1, row by row."""
    height, width = size
    y = ops.reshape((ops.arange(height).astype(ms.float32) + 0.5) / height, (height, 1, 1))
    x = ops.reshape((ops.arange(width).astype(ms.float32) + 0.5) / width, (1, width, 1))
    shape = (height, width, 1)
    return ops.reshape(ops.concat((ops.broadcast_to(x, shape), ops.broadcast_to(y, shape)), -1), (height * width, 2))
