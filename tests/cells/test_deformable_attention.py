"""Deformable attention samples where it is told to, in any size of map and at any precision around it."""

from __future__ import annotations

from contextlib import nullcontext

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from ms_seg.cells import native
from ms_seg.cells.deformable_attention import DeformableAttention, spatial_shapes
from ms_seg.cells.position import pixel_centres
from ms_seg.cells.precision import compute_dtype


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def scattering(channels: int, heads: int, levels: int, points: int) -> DeformableAttention:
    """Whose samples lie around their queries' reference points, each query's elsewhere."""
    cell = DeformableAttention(channels, heads, levels, points)
    cell.sampling_offsets.weight.set_data(Tensor(draw(*cell.sampling_offsets.weight.shape) / 4))
    return cell


@pytest.mark.parametrize("compiled", [True, False], ids=["c", "mindspore"])
def test_samples_beyond_the_edge_are_zeros_and_at_the_edge_fractions(compiled: bool):
    with nullcontext() if compiled else native.disabled():
        sample = DeformableAttention(1, 1, 1, 1).sample
    value = np.array([1, 2, 3, 4], np.float32).reshape(1, 4, 1)  # a map of 2x2
    offsets = [(0, 0), (1, 1), (1, 0.5), (-0.5, 0), (-1, 0), (1e9, 0), (0, -1e9), (1.75, 0)]
    inputs = (
        value,
        np.array(offsets, np.float32).reshape(1, -1, 1, 1, 1, 2),
        np.ones((1, len(offsets), 1, 1, 1), np.float32),
        np.full((len(offsets), 2), 0.25, np.float32),  # the first pixel's middle
        np.array([[2, 2]], np.float32),
    )
    answer = sample(*map(Tensor, inputs)).asnumpy().ravel()
    np.testing.assert_allclose(answer, [1, 4, 3, 0.5, 0, 0, 0, 0.5], atol=1e-6)


@pytest.mark.parametrize("compiled", [True, False], ids=["c", "mindspore"])
def test_one_graph_serves_all_sizes(compiled: bool):
    with nullcontext() if compiled else native.disabled():
        attention = scattering(64, 2, 2, 4)

    class Around(nn.Cell):
        def construct(self, first: Tensor, second: Tensor) -> Tensor:
            sizes = (first.shape[1:3], second.shape[1:3])
            tokens = ops.concat((ops.reshape(first, (1, -1, 64)), ops.reshape(second, (1, -1, 64))), 1)
            reference_points = ops.concat((pixel_centres(sizes[0]), pixel_centres(sizes[1])), 0)
            return attention(tokens, tokens, reference_points, spatial_shapes(sizes))

    around = Around()
    around.set_inputs(*[Tensor(shape=(1, None, None, 64), dtype=ms.float32)] * 2)
    graph = ms.jit(around)
    for sizes in (((2, 3), (4, 6)), ((1, 1), (2, 2)), ((3, 7), (6, 13))):
        maps = [Tensor(draw(1, *size, 64, seed=number)) for number, size in enumerate(sizes)]
        np.testing.assert_allclose(graph(*maps).asnumpy(), Around()(*maps).asnumpy(), atol=1e-6)


def test_offsets_and_weights_are_computed_in_float32_at_any_precision():
    cell, x = scattering(32, 2, 1, 4), Tensor(draw(5, 32))
    exact = [part(x).asnumpy() for part in (cell.sampling_offsets, cell.attention_weights, cell.value_proj)]
    with compute_dtype(ms.float16):
        lowered = [part(x).asnumpy() for part in (cell.sampling_offsets, cell.attention_weights, cell.value_proj)]
    np.testing.assert_array_equal(lowered[0], exact[0])
    np.testing.assert_array_equal(lowered[1], exact[1])
    assert np.abs(lowered[2] - exact[2]).max() > 0


def test_heads_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ValueError, match="channels must be a multiple of heads: 10 is not a multiple of 4"):
        DeformableAttention(10, 4, 1, 1)
