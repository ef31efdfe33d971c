"""Multi-scale deformable attention: every query looks at a few places of each map, which it chooses itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.common.initializer import XavierUniform, initializer

from ms_seg.cells import native
from ms_seg.cells.count import count
from ms_seg.cells.dense import Dense


class DeformableAttention(nn.Cell):
    """Queries (N, Lq, C), values (N, Lv, C), places (Lq, 2) and sizes of maps (levels, 2) -> (N, Lq, C), all float32.

    arXiv:2010.04159, section 4.1. The values are the pixels of `levels` maps, row by row, one map after the other,
    whose (H, W) `sizes_of` puts into a tensor; a query's place is (x, y) from 0 to 1 in each of them. A query has
    `points` samples for each head and level, at offsets in pixels from its place, bilinear, with zeros beyond the edge.
    The weights of its samples, over levels and points, have the sum 1.

    Places and weights are computed in float32 whatever `products_in` says: in float16 a place would be off by a
    hundredth of a pixel, and more in larger maps. C is a multiple of heads; ValueError for others.
    """

    def __init__(self, channels: int, heads: int, levels: int, points: int):
        super().__init__()
        if channels % heads:
            raise ValueError(f"channels is {channels}: it is a multiple of the number of heads, {heads}")
        self.heads, self.levels, self.points = heads, levels, points
        samples = heads * levels * points
        self.sampling_offsets = nn.Dense(channels, 2 * samples, weight_init="zeros")
        self.sampling_offsets.bias.set_data(Tensor(_star(heads, levels, points)))
        self.attention_weights = nn.Dense(channels, samples, weight_init="zeros", bias_init="zeros")
        self.value_proj, self.output_proj = Dense(channels, channels), Dense(channels, channels)
        for projection in (self.value_proj, self.output_proj):
            projection.weight.set_data(initializer(XavierUniform(), (channels, channels)))
        self.sample = _NativeSample() if native.available() else _Sample()

    def construct(self, query: Tensor, value: Tensor, places: Tensor, sizes: Tensor) -> Tensor:
        n, length, _ = query.shape
        samples = (n, length, self.heads, self.levels, self.points)
        offsets = ops.reshape(self.sampling_offsets(query), (*samples, 2))
        scores = ops.reshape(self.attention_weights(query), (n, length, self.heads, self.levels * self.points))
        weights = ops.reshape(ops.softmax(scores, axis=-1), samples)
        return self.output_proj(self.sample(self.value_proj(value), offsets, weights, places, sizes))


def sizes_of(maps: Sequence[tuple[int, int]]) -> Tensor:
    """Sizes (H, W), which may be known only at run time -> (levels, 2) float32."""
    sides = ()
    for height, width in maps:
        sides += (ops.scalar_to_tensor(height, ms.float32), ops.scalar_to_tensor(width, ms.float32))
    return ops.reshape(ops.stack(sides), (-1, 2))


def _star(heads: int, levels: int, points: int) -> np.ndarray:
    """Where the samples lie before training, (heads * levels * points * 2,): a ray for each head, a pixel a step.

    Rays end on a square, as in the paper's code.
    """
    angles = np.arange(heads) * (2 * math.pi / heads)
    rays = np.stack((np.cos(angles), np.sin(angles)), -1)
    rays /= np.abs(rays).max(-1, keepdims=True)
    steps = np.arange(1, points + 1).reshape(1, 1, points, 1)
    star = np.broadcast_to(rays.reshape(heads, 1, 1, 2) * steps, (heads, levels, points, 2))
    return star.reshape(-1).astype(np.float32)


class _NativeSample(nn.Cell):
    """What _Sample computes, without a row of it being copied.

    On two cores, 8 heads of 32 channels, 3 levels, 4 points, forward and with gradients: 5 and 24 ms for 4,679
    queries, 40 and 90 ms for 17,850. _Sample takes 200 and 370 ms, 800 and 1430 ms, and 2 GB more; PyTorch's
    grid_sample 95 and 225 ms, 610 ms and more.
    """

    def __init__(self):
        super().__init__()
        self.forward = native.operator("deformable", inputs=5)
        self.gradient = native.gradient("deformable_gradient", of=3)

    def construct(self, value: Tensor, offsets: Tensor, weights: Tensor, places: Tensor, sizes: Tensor) -> Tensor:
        return self.forward(value, offsets, weights, places, sizes)

    def bprop(
        self,
        value: Tensor,
        offsets: Tensor,
        weights: Tensor,
        places: Tensor,
        sizes: Tensor,
        out: Tensor,
        dout: Tensor,
    ) -> tuple[Tensor, ...]:
        """Places and sizes are what the maps are, and learn nothing."""
        of_samples = self.gradient(value, offsets, weights, places, sizes, dout)
        return *of_samples, ops.zeros_like(places), ops.zeros_like(sizes)


class _Sample(nn.Cell):
    """Sums of weighted samples: values (N, Lv, C), offsets (N, Lq, heads, levels, points, 2), weights (N, Lq, heads,
    levels, points), places (Lq, 2), sizes (levels, 2) -> (N, Lq, C).

    The rows of a sample's four corners are gathered, which on the CPU takes less than half of ops.grid_sample's time
    (0.8 s and 2.0 s for 17,850 queries); one head after the other, for all together they would take 0.9 GB.
    """

    def construct(self, value: Tensor, offsets: Tensor, weights: Tensor, places: Tensor, sizes: Tensor) -> Tensor:
        n, length, heads, levels, points, _ = offsets.shape
        positions, depth = value.shape[1], value.shape[2] // heads
        heights, widths = sizes[:, 0], sizes[:, 1]
        columns, of_columns = _corners(offsets[..., 0], places[:, 0], widths)
        rows, of_rows = _corners(offsets[..., 1], places[:, 1], heights)
        starts = ops.cumsum(heights * widths, 0) - heights * widths
        widths, starts = _along_levels(widths.astype(ms.int32)), _along_levels(starts.astype(ms.int32))
        pixels = ops.expand_dims(rows * widths + starts, -1) + ops.expand_dims(columns, -2)
        shares = ops.expand_dims(of_rows * ops.expand_dims(weights, -1), -1) * ops.expand_dims(of_columns, -2)

        samples = levels * points * 4
        batch = ops.reshape(count(n) * positions, (n, 1, 1, 1))
        pixels = (ops.reshape(pixels, (n, length, heads, samples)) + batch) * heads
        shares = ops.reshape(shares, (n * length, heads, 1, samples))
        table = ops.reshape(value, (n * positions * heads, depth))
        answers = ()
        for head in range(heads):
            corners = ops.gather(table, ops.reshape(pixels[:, :, head] + head, (n * length, samples)), 0)
            answers += (ops.reshape(ops.bmm(shares[:, head], corners), (n, length, depth)),)
        return ops.concat(answers, -1)


def _corners(offsets: Tensor, places: Tensor, extents: Tensor) -> tuple[Tensor, Tensor]:
    """Along one axis, for each sample (N, Lq, heads, levels, points): the two pixels around it, and their shares of it.

    Both are (N, Lq, heads, levels, points, 2); a pixel beyond the edge has no share, and stands for the one there.
    """
    at = ops.reshape(places, (-1, 1, 1, 1)) * ops.reshape(extents, (-1, 1)) - 0.5 + offsets
    before = ops.floor(at)
    pixels = ops.stack((before, before + 1), -1)
    last = _along_levels(extents) - 1
    inside = ops.logical_and(pixels >= 0, pixels <= last).astype(ms.float32)
    shares = (1 - ops.abs(pixels - ops.expand_dims(at, -1))) * inside
    return ops.minimum(ops.maximum(pixels, 0), last).astype(ms.int32), shares


def _along_levels(x: Tensor) -> Tensor:
    """(levels,), to be broadcast over (..., levels, points, 2)."""
    return ops.reshape(x, (-1, 1, 1))
