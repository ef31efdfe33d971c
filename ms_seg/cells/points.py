"""Masks at points, where they are compared and learned (PointRend, arXiv:1912.08193, section 3.3).

Points are (x, y) from 0 to 1, the corners of a map's corner pixels. A map at a point is bilinear between the centres of
its pixels and zero beyond them, as mmcv's point_sample with align_corners=False.

maps (maps, h, w) are float32 or uint8; `rows` (K,) int32 selects from them, -1 standing for none. A row beyond the last
map is an error where the operators in C are used.
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from ms_seg.cells import native


class SamplePoints(nn.Cell):
    """maps, rows (K,), points (G, P, 2) -> (K, P) float32: the first K / G rows have the first points, and so on.

    Samples of a row of -1 are zeros. Maps have gradients, points have none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sample = _NativeSample() if native.available() else _Sample()

    def construct(self, maps: Tensor, rows: Tensor, points: Tensor) -> Tensor:
        return self.sample(maps, rows, points)


class UncertainPoints(nn.Cell):
    """maps, rows (K,), candidates (K, P, 2) -> (K, kept, 2): of each row, those where its map is nearest to zero.

    Their order means nothing. Candidates where a map is NaN come last. Nothing here has gradients.
    """

    def __init__(self, kept: int):
        super().__init__()
        self.select = _NativeSelect(kept) if native.available() else _Select(kept)

    def construct(self, maps: Tensor, rows: Tensor, candidates: Tensor) -> Tensor:
        return self.select(maps, rows, candidates)


class _NativeSelect(nn.Cell):
    """What _Select computes, without sorting: 20 ms for 40 masks of 37,632 candidates, where _Select takes 190."""

    def __init__(self, kept: int):
        super().__init__()
        self.kept = Tensor(np.zeros(kept, np.float32))  # its length tells the operator, which takes arrays alone
        self.select = native.fixed_size_operator("uncertain_points", _selected_shape)

    def construct(self, maps: Tensor, rows: Tensor, candidates: Tensor) -> Tensor:
        return self.select(maps, rows, candidates, self.kept)


class _Select(nn.Cell):
    def __init__(self, kept: int):
        super().__init__()
        self.kept, self.sample = kept, _Sample()

    def construct(self, maps: Tensor, rows: Tensor, candidates: Tensor) -> Tensor:
        logits = self.sample(maps, rows, candidates)
        certainty = ops.select(ops.isnan(logits), float("inf"), ops.abs(logits))
        _, selected = ops.topk(-certainty, self.kept, sorted=False)
        selected = ops.broadcast_to(ops.expand_dims(selected, -1), (*selected.shape, 2))
        return ops.gather_elements(candidates, 1, selected)


class _NativeSample(nn.Cell):
    """What _Sample computes, in one pass."""

    def __init__(self) -> None:
        super().__init__()
        gradient = native.fixed_size_operator("sample_points_grad", _maps_shape)

        def bprop(
            maps: Tensor, rows: Tensor, points: Tensor, out: Tensor, dout: Tensor
        ) -> tuple[Tensor, Tensor, Tensor]:
            return gradient(maps, rows, points, dout), rows, points  # nothing asks for the last two

        self.forward = native.fixed_size_operator("sample_points", _sampled_shape, bprop)

    def construct(self, maps: Tensor, rows: Tensor, points: Tensor) -> Tensor:
        return self.forward(maps, rows, points)


def _sampled_shape(maps: list[int], rows: list[int], points: list[int]) -> list[int]:
    return [rows[0], points[1]]


def _selected_shape(maps: list[int], rows: list[int], candidates: list[int], kept: list[int]) -> list[int]:
    return [candidates[0], kept[0], 2]


def _maps_shape(maps: list[int], rows: list[int], points: list[int], gradient: list[int]) -> list[int]:
    return maps


class _Sample(nn.Cell):
    """Gathers the four pixels around each point, and weights them."""

    def construct(self, maps: Tensor, rows: Tensor, points: Tensor) -> Tensor:
        _, height, width = maps.shape
        groups, count, _ = points.shape
        columns, column_weights = _corners(points[..., 0], width)
        lines, line_weights = _corners(points[..., 1], height)
        table, samples = maps.ravel(), 0.0
        starts = ops.reshape(ops.maximum(rows, 0) * (height * width), (groups, -1, 1))
        for line in range(2):
            for column in range(2):
                pixels = ops.expand_dims(lines[line] * width + columns[column], 1) + starts  # (G, K / G, P)
                weights = ops.expand_dims(line_weights[line] * column_weights[column], 1)
                samples = samples + ops.gather(table, pixels, 0).astype(ms.float32) * weights
        selected = ops.expand_dims((rows >= 0).astype(ms.float32), 1)
        return ops.reshape(samples, (rows.shape[0], count)) * selected


def _corners(coordinates: Tensor, extent: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Along one axis: the two pixels around each point, and their weights, which beyond the edge are zero."""
    location = coordinates * extent - 0.5
    before = ops.floor(location)
    after = before + 1
    weights = (
        (after - location) * (before >= 0).astype(ms.float32),
        (location - before) * (after < extent).astype(ms.float32),
    )
    pixels = ops.maximum(before, 0).astype(ms.int32), ops.minimum(after, extent - 1).astype(ms.int32)
    return pixels, weights
