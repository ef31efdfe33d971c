"""Attention within windows: the formula, window by window, in C and in MindSpore's operators."""

from __future__ import annotations

from contextlib import nullcontext

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ms_seg.cells import native
from ms_seg.cells.window_attention import ShiftedWindowAttention, table_rows, window_partition

HEADS, DEPTH = 3, 5
CHANNELS = HEADS * DEPTH


def drawn(window: int, grid: tuple[int, int]) -> list[np.ndarray]:
    """qkv, padding and table."""
    generator = np.random.default_rng(window)
    shapes = ((2, grid[0] * grid[1], 3 * CHANNELS), (3 * CHANNELS,), (table_rows(window), HEADS))
    return [generator.standard_normal(shape).astype(np.float32) for shape in shapes]


def by_the_formula(arrays: list[np.ndarray], grid: tuple[int, int], window: int, shift: int) -> np.ndarray:
    """Token by token: in float64, every query over the keys of its window, those from the other edge masked."""
    qkv, padding, table = (array.astype(np.float64) for array in arrays)
    height, width = (-(-side // window) * window for side in grid)
    padded = np.broadcast_to(padding, (len(qkv), height, width, 3 * CHANNELS)).copy()
    padded[:, : grid[0], : grid[1]] = qkv.reshape(len(qkv), *grid, -1)
    query, key, value = (padded[..., i * CHANNELS : (i + 1) * CHANNELS] for i in range(3))
    out = np.zeros_like(query)
    for y, x in np.ndindex(height, width):
        shifted_y, shifted_x = (y - shift) % height, (x - shift) % width  # where the token is after the shift
        top, left = shifted_y // window * window, shifted_x // window * window
        rows = [((top + i + shift) % height, (left + j + shift) % width) for i, j in np.ndindex(window, window)]
        places = tuple(np.array(rows).T)
        offsets = np.array([(shifted_y - top - i, shifted_x - left - j) for i, j in np.ndindex(window, window)])
        bias = table[(offsets[:, 0] + window - 1) * (2 * window - 1) + offsets[:, 1] + window - 1]
        apart = np.zeros(len(rows))
        if shift:
            apart = np.array([-100.0 * ((y < shift) != (v < shift) and top == height - window
                              or (x < shift) != (u < shift) and left == width - window) for v, u in rows])  # fmt: skip
        for head in range(HEADS):
            part = slice(head * DEPTH, (head + 1) * DEPTH)
            scores = key[:, *places, part] @ query[:, y, x, part, None] / DEPTH**0.5
            scores = scores[..., 0] + bias[:, head] + apart
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            weights /= weights.sum(-1, keepdims=True)
            out[:, y, x, part] = (weights[..., None] * value[:, *places, part]).sum(1)
    return out[:, : grid[0], : grid[1]].reshape(len(qkv), -1, CHANNELS)


def answer(arrays: list[np.ndarray], grid: tuple[int, int], window: int, shift: int) -> np.ndarray:
    cell = ShiftedWindowAttention(HEADS, window, shift).set_train(False)
    return cell(*map(Tensor, arrays), window_partition(grid, window, shift, HEADS)).asnumpy()


@pytest.mark.parametrize("way", ["native", "in steps"])
@pytest.mark.parametrize(("grid", "window", "shift"), [((4, 8), 4, 0), ((5, 7), 3, 1), ((2, 3), 4, 2), ((9, 4), 4, 2)])
def test_each_window_attends_by_the_formula(grid: tuple[int, int], window: int, shift: int, way: str):
    arrays = drawn(window, grid)
    with nullcontext() if way == "native" else native.disabled():
        found = answer(arrays, grid, window, shift)
    expected = by_the_formula(arrays, grid, window, shift)
    assert np.linalg.norm(found - expected) < 1e-6 * np.linalg.norm(expected)


@pytest.mark.parametrize("way", ["native", "in steps"])
def test_what_is_not_a_number_stays_in_its_window(way: str):
    arrays = drawn(4, (8, 8))
    arrays[0][0, 0] = np.nan
    with nullcontext() if way == "native" else native.disabled():
        found = np.isnan(answer(arrays, (8, 8), 4, 0)).reshape(2, 8, 8, CHANNELS)
    assert found[0, :4, :4].all() and found.sum() == 16 * CHANNELS


def test_gradients_are_those_of_mindspores_operators():
    arrays = drawn(3, (5, 7))

    def gradients() -> list[np.ndarray]:
        cell = ShiftedWindowAttention(HEADS, 3, 1).set_train(True)
        partition = window_partition((5, 7), 3, 1, HEADS)

        def loss(qkv: Tensor, padding: Tensor, table: Tensor) -> Tensor:
            return cell(qkv, padding, table, partition).square().sum()

        return [gradient.asnumpy() for gradient in ms.grad(loss, (0, 1, 2))(*map(Tensor, arrays))]

    with native.disabled():
        expected = gradients()
    for found, one in zip(gradients(), expected, strict=True):
        assert np.linalg.norm(found - one) < 1e-5 * np.linalg.norm(one)
