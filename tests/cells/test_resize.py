"""Maps are resized as torch.nn.functional.interpolate does it in float64, with its gradients."""

from __future__ import annotations

from contextlib import nullcontext

import mindspore as ms
import numpy as np
import pytest
import torch
from mindspore import Tensor, nn

from ms_seg.cells import native
from ms_seg.cells.resize import Resize

SIZES = [
    ((5, 7), (11, 9)),
    ((8, 8), (3, 5)),
    ((6, 5), (6, 9)),
    ((9, 7), (2, 7)),
    ((1, 1), (4, 4)),
    ((4, 4), (1, 1)),
    ((60, 33), (240, 132)),  # enough work for two threads
]


class Resized(nn.Cell):
    def __init__(self, align_corners: bool, size: tuple[int, int]):
        super().__init__()
        self.resize, self.size = Resize(align_corners), size

    def construct(self, x: Tensor) -> Tensor:
        return self.resize(x, self.size)


@pytest.mark.parametrize("in_c", [True, False], ids=["in C", "by MindSpore"])
@pytest.mark.parametrize("align_corners", [False, True], ids=["", "align_corners"])
@pytest.mark.parametrize(("source", "size"), SIZES)
def test_maps_and_gradients_are_pytorchs(
    source: tuple[int, int], size: tuple[int, int], align_corners: bool, in_c: bool
):
    generator = np.random.default_rng(0)
    x = generator.standard_normal((2, 16, *source)).astype(np.float32)
    gradient = generator.standard_normal((2, 16, *size)).astype(np.float32)
    with nullcontext() if in_c else native.disabled():
        cell = Resized(align_corners, size)
    ours = cell(Tensor(x)), ms.grad(lambda x, gradient: (cell(x) * gradient).sum())(Tensor(x), Tensor(gradient))
    truth = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    resized = torch.nn.functional.interpolate(truth, size=size, mode="bilinear", align_corners=align_corners)
    (resized * torch.tensor(gradient)).sum().backward()
    for found, expected in zip(ours, (resized.detach(), truth.grad), strict=True):
        error = np.linalg.norm(found.asnumpy() - expected.numpy()) / np.linalg.norm(expected)
        assert error < (2e-7 if in_c else 5e-6)


def test_a_map_of_that_size_is_left_as_it_is():
    x = Tensor(np.ones((1, 2, 3, 4), np.float32))
    assert Resize()(x, (3, 4)) is x


def test_other_types_than_float32_are_resized_too():
    x = np.random.default_rng(0).standard_normal((1, 2, 8, 8)).astype(np.float16)
    exact = Resize()(Tensor(x.astype(np.float32)), (16, 12)).asnumpy()
    np.testing.assert_allclose(Resize()(Tensor(x), (16, 12)).asnumpy(), exact, rtol=2e-3, atol=2e-3)
