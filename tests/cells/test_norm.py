"""Norms of vectors, beside NumPy in float64."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from ms_seg.cells import native
from ms_seg.cells.norm import SquaredNorm


@pytest.mark.parametrize("in_c", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 4, 5), (2, 70, 31, 34)])
def test_squared_norms_and_their_gradient_are_those_of_the_channels(shape: tuple[int, ...], in_c: bool):
    if in_c:
        cell = SquaredNorm()
    else:
        with native.disabled():
            cell = SquaredNorm()
    generator = np.random.default_rng(0)
    x, dout = (generator.standard_normal((*shape[:1], c, *shape[2:])).astype(np.float32) for c in (shape[1], 1))
    of_x = ms.grad(lambda x: (cell(x) * Tensor(dout)).sum())(Tensor(x))
    np.testing.assert_allclose(cell(Tensor(x)).asnumpy(), (x.astype(np.float64) ** 2).sum(1, keepdims=True), rtol=1e-6)
    np.testing.assert_allclose(of_x.asnumpy(), 2 * x * dout, rtol=1e-6)
