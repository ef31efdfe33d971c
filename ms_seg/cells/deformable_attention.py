"""Multi-scale deformable attention: each query attends to a few sampling locations in each map, which it predicts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.common.initializer import XavierUniform, initializer

from ms_seg.cells import native
from ms_seg.cells.mlp import Dense
from ms_seg.cells.position import arange


class DeformableAttention(nn.Cell):
    """Queries (N, Lq, C), values (N, Lv, C), reference points (Lq, 2), spatial shapes (levels, 2) -> (N, Lq, C).

    All are float32. arXiv:2010.04159, section 4.1. The values are the pixels of `levels` maps, row by row, one map
    after the other; the function `spatial_shapes` makes a tensor of their (H, W). A query's reference point is (x, y)
    from 0 to 1 in each map. A query has `points` samples for each head and level, at predicted offsets in pixels from
    its reference point, bilinear, with zeros beyond the edge. Their attention weights sum to 1 over levels and points.

    value_channels: of the values that are summed, `channels` if None.

    Offsets and attention weights are computed in float32 whatever `compute_dtype` says: in float16 a sample would be
    off by a hundredth of a pixel, and more in larger maps. Raises ValueError unless the values' channels are a multiple
    of heads.
    """

    def __init__(self, channels: int, heads: int, levels: int, points: int, value_channels: int | None = None):
        super().__init__()
        value_channels = channels if value_channels is None else value_channels
        if value_channels % heads:
            raise ValueError(f"channels must be a multiple of heads: {value_channels} is not a multiple of {heads}")
        self.heads, self.levels, self.points = heads, levels, points
        samples = heads * levels * points
        self.sampling_offsets = nn.Dense(channels, 2 * samples, weight_init="zeros")
        self.sampling_offsets.bias.set_data(Tensor(init_offsets(heads, levels, points)))
        self.attention_weights = nn.Dense(channels, samples, weight_init="zeros", bias_init="zeros")
        self.value_proj, self.output_proj = Dense(channels, value_channels), Dense(value_channels, channels)
        for projection in (self.value_proj, self.output_proj):
            projection.weight.set_data(initializer(XavierUniform(), projection.weight.shape))
        self.sample = _NativeSample() if native.available() else _Sample()

    def construct(self, query: Tensor, value: Tensor, reference_points: Tensor, spatial_shapes: Tensor) -> Tensor:
        n, length, _ = query.shape
        samples = (n, length, self.heads, self.levels, self.points)
        offsets = ops.reshape(self.sampling_offsets(query), (*samples, 2))
        scores = ops.reshape(self.attention_weights(query), (n, length, self.heads, self.levels * self.points))
        attn_weights = ops.reshape(ops.softmax(scores, axis=-1), samples)
        value = self.value_proj(value)
        return self.output_proj(self.sample(value, offsets, attn_weights, reference_points, spatial_shapes))


def spatial_shapes(sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Sizes (H, W) of maps, which may be known only at run time -> (levels, 2) float32."""
    sides: tuple[Tensor, ...] = ()
    for height, width in sizes:
        sides += (ops.scalar_to_tensor(height, ms.float32), ops.scalar_to_tensor(width, ms.float32))
    return ops.reshape(ops.stack(sides), (-1, 2))


def init_offsets(heads: int, levels: int, points: int) -> np.ndarray:
    """The sampling offsets before training, (heads * levels * points * 2,): a ray for each head, a pixel a step.

    Rays end on a square, as in the paper's code.
    """
    angles = np.arange(heads) * (2 * math.pi / heads)
    rays = np.stack((np.cos(angles), np.sin(angles)), -1)
    rays /= np.abs(rays).max(-1, keepdims=True)
    steps = np.arange(1, points + 1).reshape(1, 1, points, 1)
    offsets = np.broadcast_to(rays.reshape(heads, 1, 1, 2) * steps, (heads, levels, points, 2))
    return offsets.reshape(-1).astype(np.float32)


class _NativeSample(nn.Cell):
    """What _Sample computes, without copying a row.

    On two cores, 8 heads of 32 channels, 3 levels, 4 points, forward and with gradients: 5 and 24 ms for 4,679
    queries, 40 and 90 ms for 17,850. _Sample takes 200 and 370 ms, 800 and 1430 ms, and 2 GB more; PyTorch's
    grid_sample 95 and 225 ms, 610 ms and more.
    """

    def __init__(self) -> None:
        super().__init__()
        gradient = native.gradient("deformable_attention_grad", of=3)

        def bprop(
            value: Tensor,
            offsets: Tensor,
            attn_weights: Tensor,
            reference_points: Tensor,
            spatial_shapes: Tensor,
            out: Tensor,
            dout: Tensor,
        ) -> tuple[Tensor, ...]:
            """Reference points and spatial shapes follow from the maps' sizes: nothing asks for their gradients."""
            gradients = gradient(value, offsets, attn_weights, reference_points, spatial_shapes, dout)
            return *gradients, ops.zeros_like(reference_points), ops.zeros_like(spatial_shapes)

        self.forward = native.operator("deformable_attention", 5, bprop)

    def construct(
        self, value: Tensor, offsets: Tensor, attn_weights: Tensor, reference_points: Tensor, spatial_shapes: Tensor
    ) -> Tensor:
        return self.forward(value, offsets, attn_weights, reference_points, spatial_shapes)


class _Sample(nn.Cell):
    """Weighted sums of samples: values (N, Lv, C), offsets (N, Lq, heads, levels, points, 2), attention weights (N, Lq,
    heads, levels, points), reference points (Lq, 2), spatial shapes (levels, 2) -> (N, Lq, C).

    The rows of a sample's four corners are gathered, which on the CPU takes less than half of ops.grid_sample's time
    (0.8 s and 2.0 s for 17,850 queries); one head after the other, for all together they would take 0.9 GB.
    """

    def construct(
        self, value: Tensor, offsets: Tensor, attn_weights: Tensor, reference_points: Tensor, spatial_shapes: Tensor
    ) -> Tensor:
        n, length, heads, levels, points, _ = offsets.shape
        positions, depth = value.shape[1], value.shape[2] // heads
        heights, widths = spatial_shapes[:, 0], spatial_shapes[:, 1]
        columns, column_weights = _corners(offsets[..., 0], reference_points[:, 0], widths)
        rows, row_weights = _corners(offsets[..., 1], reference_points[:, 1], heights)
        starts = ops.cumsum(heights * widths, 0) - heights * widths
        widths, starts = _along_levels(widths.astype(ms.int32)), _along_levels(starts.astype(ms.int32))
        pixels = ops.expand_dims(rows * widths + starts, -1) + ops.expand_dims(columns, -2)
        weights = ops.expand_dims(row_weights * ops.expand_dims(attn_weights, -1), -1)
        weights = weights * ops.expand_dims(column_weights, -2)  # (N, Lq, heads, levels, points, 2, 2)

        samples = levels * points * 4
        batch = ops.reshape(arange(n) * positions, (n, 1, 1, 1))
        pixels = (ops.reshape(pixels, (n, length, heads, samples)) + batch) * heads
        weights = ops.reshape(weights, (n * length, heads, 1, samples))
        table = ops.reshape(value, (n * positions * heads, depth))
        outputs: tuple[Tensor, ...] = ()
        for head in range(heads):
            corners = ops.gather(table, ops.reshape(pixels[:, :, head] + head, (n * length, samples)), 0)
            outputs += (ops.reshape(ops.bmm(weights[:, head], corners), (n, length, depth)),)
        return ops.concat(outputs, -1)


def _corners(offsets: Tensor, reference: Tensor, extents: Tensor) -> tuple[Tensor, Tensor]:
    """Along one axis, for each sample (N, Lq, heads, levels, points): the two pixels around it, and their weights.

    Both are (N, Lq, heads, levels, points, 2); a pixel beyond the edge has weight 0, and the index of the one at it.
    """
    location = ops.reshape(reference, (-1, 1, 1, 1)) * ops.reshape(extents, (-1, 1)) - 0.5 + offsets
    before = ops.floor(location)
    pixels = ops.stack((before, before + 1), -1)
    last = _along_levels(extents) - 1
    inside = ops.logical_and(pixels >= 0, pixels <= last).astype(ms.float32)
    weights = (1 - ops.abs(pixels - ops.expand_dims(location, -1))) * inside
    return ops.minimum(ops.maximum(pixels, 0), last).astype(ms.int32), weights


def _along_levels(x: Tensor) -> Tensor:
    """(levels,), to be broadcast over (..., levels, points, 2)."""
    return ops.reshape(x, (-1, 1, 1))
