"""What optimisers make of gradients, beside NumPy in float64."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from ms_seg.cells import native
from ms_seg.cells.sums import ScaledSum, SumOfSquares


class _All(nn.Cell):
    """As in an update: each of many tensors of several shapes is one call, within a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.squares, self.scaled = SumOfSquares(), ScaledSum()

    def construct(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return self.squares(x), self.scaled(x, y, 0.3), self.scaled(x, y, 0.0)


@pytest.mark.parametrize("in_c", [True, False])
@pytest.mark.parametrize("shape", [(), (1,), (7, 11), (3, 5000), (1000, 70)])
def test_sums_are_those_of_float64(shape: tuple[int, ...], in_c: bool):
    if in_c:
        cell = _All()
    else:
        with native.disabled():
            cell = _All()
    generator = np.random.default_rng(0)
    x, y = (np.asarray(generator.standard_normal(shape), np.float32) for _ in range(2))
    squares, scaled, unscaled = (out.asnumpy() for out in ms.jit(cell.construct)(Tensor(x), Tensor(y)))
    assert squares.shape == (1,)
    np.testing.assert_allclose(squares[0], np.square(x, dtype=np.float64).sum(), rtol=2e-7)
    np.testing.assert_allclose(scaled, x + 0.3 * y.astype(np.float64), rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(unscaled, x)
