"""Masks at points: bilinear as PyTorch's grid_sample, compiled or not, with gradients, and the least certain points."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import mindspore as ms
import numpy as np
import pytest
import torch
from mindspore import Tensor, nn

from ms_seg.cells import native
from ms_seg.cells.points import SamplePoints, UncertainPoints

ROWS = np.array([3, -1, 0, 5, 2, -1], np.int32)


@pytest.fixture(params=["c", "mindspore"], autouse=True)
def ways(request: pytest.FixtureRequest) -> Iterator[None]:
    with native.disabled() if request.param == "mindspore" else nullcontext():
        yield


def points(*shape: int) -> np.ndarray:
    drawn = np.random.default_rng(1).random((*shape, 2), dtype=np.float32)
    drawn[:, :4] = [(0, 0), (0.999999, 0.5), (0.5, 0.999999), (0.05, 0.95)]  # between the middles and the edge
    return drawn


def sampled(maps: torch.Tensor, rows: np.ndarray, places: np.ndarray) -> torch.Tensor:
    grid = 2 * torch.from_numpy(places).repeat_interleave(len(rows) // len(places), 0) - 1
    picked = maps[np.maximum(rows, 0)][:, None]
    values = torch.nn.functional.grid_sample(picked, grid[:, None], align_corners=False)[:, 0, 0]
    return values * torch.from_numpy(rows >= 0)[:, None]


class Weighted(nn.Cell):
    def __init__(self):
        super().__init__()
        self.sample = SamplePoints()

    def construct(self, maps: Tensor, rows: Tensor, places: Tensor, weights: Tensor) -> Tensor:
        return (self.sample(maps, rows, places) * weights).sum()


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (150, 130)], ids=str)
@pytest.mark.parametrize("groups", [2, 6])
def test_values_and_gradients_are_grid_samples(groups: int, size: tuple[int, int]):
    generator = np.random.default_rng(0)
    maps, weights = (generator.standard_normal(shape).astype(np.float32) for shape in ((6, *size), (6, 40)))
    theirs = torch.from_numpy(maps).requires_grad_()
    truth = sampled(theirs, ROWS, points(groups, 40))
    (truth * torch.from_numpy(weights)).sum().backward()
    inputs = [Tensor(array) for array in (maps, ROWS, points(groups, 40))]
    np.testing.assert_allclose(ms.jit(SamplePoints())(*inputs).asnumpy(), truth.detach().numpy(), atol=1e-4)
    gradient = ms.jit(ms.grad(Weighted(), 0))(*inputs, Tensor(weights)).asnumpy()
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), atol=1e-4)


def test_masks_of_bytes_are_sampled_as_numbers():
    masks = np.random.default_rng(0).integers(0, 2, (6, 7, 8)).astype(np.uint8)
    ours = SamplePoints()(Tensor(masks), Tensor(ROWS), Tensor(points(3, 30))).asnumpy()
    truth = sampled(torch.from_numpy(masks).float(), ROWS, points(3, 30))
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, truth.numpy(), atol=1e-5)


@pytest.mark.parametrize("kept", [1, 17, 50])
def test_the_least_certain_points_are_chosen(kept: int):
    maps = np.random.default_rng(0).standard_normal((6, 9, 5)).astype(np.float32)
    candidates = points(6, 50)
    chosen = UncertainPoints(kept)(Tensor(maps), Tensor(ROWS), Tensor(candidates)).asnumpy()
    magnitudes = sampled(torch.from_numpy(maps), ROWS, candidates).abs().numpy()
    for row in np.flatnonzero(ROWS >= 0):
        truth = candidates[row][np.argsort(magnitudes[row])[:kept]]
        assert sorted(map(tuple, chosen[row])) == sorted(map(tuple, truth))


def test_equal_certainty_and_no_number_choose_some_points():
    """Where masks are flat, and where a network has overflowed."""
    maps = np.stack((np.zeros((4, 4)), np.full((4, 4), np.nan), np.full((4, 4), np.inf))).astype(np.float32)
    candidates = points(3, 30)
    chosen = UncertainPoints(20)(Tensor(maps), Tensor(np.arange(3, dtype=np.int32)), Tensor(candidates)).asnumpy()
    for ours, of_row in zip(chosen, candidates, strict=True):
        assert set(map(tuple, ours)) <= set(map(tuple, of_row))
        assert len(set(map(tuple, ours))) == 20
