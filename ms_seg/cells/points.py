"""Masks at points, where they are compared and learned (PointRend, arXiv:1912.08193, section 3.3).

Points are (x, y) from 0 to 1, the corners of a map's corner pixels. A map at a point is bilinear between the middles of
its pixels and zero beyond them, as mmcv's point_sample with align_corners=False.

Of maps (maps, h, w), float32 or uint8, `rows` (K,) int32 says which are meant; -1 stands for none.
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from ms_seg.cells import native


class SamplePoints(nn.Cell):
    """maps, rows (K,), points (G, P, 2) -> (K, P) float32: the first K / G rows have the first points, and so on.

    Rows of -1 are zeros. Maps have gradients, points have none.
    """

    def __init__(self):
        super().__init__()
        self.sample = _NativeSample() if native.available() else _Sample()

    def construct(self, maps: Tensor, rows: Tensor, points: Tensor) -> Tensor:
        return self.sample(maps, rows, points)


class UncertainPoints(nn.Cell):
    """maps, rows (K,), candidates (K, P, 2) -> (K, kept, 2): of each row, those where its map is nearest to zero.

    Their order means nothing. Nothing here has gradients.
    """

    def __init__(self, kept: int):
        super().__init__()
        self.choose = _NativeChoose(kept) if native.available() else _Choose(kept)

    def construct(self, maps: Tensor, rows: Tensor, candidates: Tensor) -> Tensor:
        return self.choose(maps, rows, candidates)


class _NativeChoose(nn.Cell):
    """What _Choose computes, without sorting: 20 ms for 40 masks of 37,632 candidates, where _Choose takes 190."""

    def __init__(self, kept: int):
        super().__init__()
        self.kept = Tensor(np.zeros(kept, np.float32))  # whose length tells the operator, which takes arrays alone
        self.choose = native.of_fixed_sizes("uncertain_points", _shape_of_chosen)

    def construct(self, maps: Tensor, rows: Tensor, candidates: Tensor) -> Tensor:
        return self.choose(maps, rows, candidates, self.kept)


class _Choose(nn.Cell):
    def __init__(self, kept: int):
        super().__init__()
        self.kept, self.sample = kept, _Sample()

    def construct(self, maps: Tensor, rows: Tensor, candidates: Tensor) -> Tensor:
        uncertainty = -ops.abs(self.sample(maps, rows, candidates))
        _, chosen = ops.topk(uncertainty, self.kept, sorted=False)
        chosen = ops.broadcast_to(ops.expand_dims(chosen, -1), (*chosen.shape, 2))
        return ops.gather_elements(candidates, 1, chosen)


class _NativeSample(nn.Cell):
    """What _Sample computes, in one pass."""

    def __init__(self):
        super().__init__()
        self.forward = native.of_fixed_sizes("sample_points", _shape_of_samples)
        self.gradient = native.of_fixed_sizes("sample_points_gradient", _shape_of_maps)

    def construct(self, maps: Tensor, rows: Tensor, points: Tensor) -> Tensor:
        return self.forward(maps, rows, points)

    def bprop(
        self, maps: Tensor, rows: Tensor, points: Tensor, out: Tensor, dout: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        return self.gradient(maps, rows, points, dout), rows, points  # the last two are never asked for


def _shape_of_samples(maps: list[int], rows: list[int], points: list[int]) -> list[int]:
    return [rows[0], points[1]]


def _shape_of_chosen(maps: list[int], rows: list[int], candidates: list[int], kept: list[int]) -> list[int]:
    return [candidates[0], kept[0], 2]


def _shape_of_maps(maps: list[int], rows: list[int], points: list[int], gradient: list[int]) -> list[int]:
    return maps


class _Sample(nn.Cell):
    """The four pixels around each point are gathered, and weighed."""

    def construct(self, maps: Tensor, rows: Tensor, points: Tensor) -> Tensor:
        _, height, width = maps.shape
        groups, count, _ = points.shape
        columns, of_columns = _corners(points[..., 0], width)
        lines, of_lines = _corners(points[..., 1], height)
        table, samples = maps.ravel(), 0.0
        starts = ops.reshape(ops.maximum(rows, 0) * (height * width), (groups, -1, 1))
        for line in range(2):
            for column in range(2):
                pixels = ops.expand_dims(lines[line] * width + columns[column], 1) + starts  # (G, K / G, P)
                shares = ops.expand_dims(of_lines[line] * of_columns[column], 1)
                samples = samples + ops.gather(table, pixels, 0).astype(ms.float32) * shares
        meant = ops.expand_dims((rows >= 0).astype(ms.float32), 1)
        return ops.reshape(samples, (rows.shape[0], count)) * meant


def _corners(places: Tensor, extent: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Along one axis: the two pixels around each place, and their shares, which beyond the edge are zero."""
    at = places * extent - 0.5
    before = ops.floor(at)
    after = before + 1
    shares = (after - at) * (before >= 0).astype(ms.float32), (at - before) * (after < extent).astype(ms.float32)
    pixels = ops.maximum(before, 0).astype(ms.int32), ops.minimum(after, extent - 1).astype(ms.int32)
    return pixels, shares
