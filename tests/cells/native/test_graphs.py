"""Graphs give what their cells give: called twice, for every size, and without the operators."""

from __future__ import annotations

from collections.abc import Callable

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from ms_seg.cells import native
from ms_seg.cells.activation import GELU
from ms_seg.cells.conv import Conv2d, DepthwiseConv2d
from ms_seg.cells.mlp import Dense, MixFFN
from ms_seg.cells.norm import GroupNorm, LayerNorm
from ms_seg.cells.tokens import ConvToTokens, MapToTokens, SwapAxes, TokenConv
from tests.cells.native.calls import draw
from tests.cells.native.graphs import Residual, Tokens, error, outcome


class Twice(nn.Cell):
    def __init__(self, cell: nn.Cell):
        super().__init__()
        self.cell = cell

    def construct(self, x: Tensor, y: Tensor) -> Tensor:
        return self.cell(x) * ops.exp(self.cell(y))


@pytest.mark.parametrize(
    "make",
    [
        GELU,
        lambda: Dense(5, 4, activation=nn.ReLU()),
        lambda: GroupNorm(3, 3),
        lambda: LayerNorm(5, 1e-3),
        lambda: DepthwiseConv2d(3),
        SwapAxes,
        MapToTokens,
    ],
    ids=["gelu", "linear", "group_norm", "layer_norm", "depthwise_conv", "swap_axes", "map_to_tokens"],
)
def test_a_graph_that_calls_a_cell_twice_is_differentiated_by_pynative(make: Callable[[], nn.Cell]):
    cell = Twice(make())
    graph = ms.jit(cell.construct)
    inputs = Tensor(draw(2, 3, 4, 5)), Tensor(draw(2, 3, 4, 5, seed=1))
    of_graph, of_cell = (ms.grad(lambda x, y, call=call: call(x, y).sum(), (0, 1))(*inputs) for call in (graph, cell))
    for ours, truth in zip(of_graph, of_cell, strict=True):
        assert error(ours, truth.asnumpy()) < 1e-6


class OfMap(nn.Cell):
    """A cell of tokens and their grid, given a map (N, H, W, C)."""

    def __init__(self, cell: nn.Cell):
        super().__init__()
        self.cell = cell

    def construct(self, x: Tensor) -> Tensor:
        n, height, width, channels = x.shape
        return self.cell(ops.reshape(x, (n, height * width, channels)), (height, width))


@pytest.mark.parametrize(
    ("make", "shapes"),
    [
        (SwapAxes, [(2, 3, 4, 1), (2, 5, 4, 1), (1, 3, 4, 2), (3, 1, 1, 1)]),
        (MapToTokens, [(2, 3, 4, 1), (2, 5, 4, 1), (1, 3, 4, 2), (3, 1, 1, 1)]),
        (GELU, [(2, 3), (2, 4), (5, 3), (1, 1)]),
        (lambda: LayerNorm(6, 1e-5), [(2, 6), (3, 6), (5, 6), (1, 6)]),
        (lambda: Dense(6, 5, activation=GELU()), [(2, 6), (3, 6), (5, 6), (1, 6)]),
        (lambda: Tokens(ConvToTokens(2, 5, 3, 2, 1)), [(1, 2, 3, 4), (1, 2, 5, 4), (2, 2, 4, 4), (1, 2, 6, 1)]),
        (lambda: TokenConv(6, 5, 2, 2), [(1, 3, 4, 6), (1, 5, 4, 6), (2, 4, 4, 6), (1, 6, 2, 6)]),
        (lambda: OfMap(MixFFN(6, 8)), [(1, 3, 4, 6), (1, 5, 4, 6), (2, 4, 4, 6), (1, 6, 1, 6)]),
        (lambda: GroupNorm(2, 6), [(2, 6, 3, 4), (1, 6, 5, 4), (5, 6, 1, 1), (1, 6, 2, 2)]),
        (lambda: Residual(6), [(2, 6), (3, 6), (5, 6), (1, 6)]),
        (lambda: DepthwiseConv2d(2), [(1, 2, 3, 4), (1, 2, 5, 4), (2, 2, 4, 4), (1, 2, 6, 1)]),
        (lambda: Conv2d(2, 5, 1), [(1, 2, 3, 4), (1, 2, 5, 4), (2, 2, 4, 4), (1, 2, 6, 1)]),
        (lambda: Conv2d(32, 33, 3, padding=1), [(1, 32, 3, 4), (1, 32, 5, 4), (2, 32, 4, 4), (1, 32, 6, 1)]),
    ],
)
def test_a_graph_for_every_size_gives_what_one_for_this_size_gives(make, shapes: list[tuple[int, ...]]):
    cell = make().set_train(False)

    class Around(nn.Cell):
        def construct(self, x: Tensor) -> Tensor:
            return cell(x * 2.0) + 1.0

    graph = ms.jit(Around().set_train(False).construct, dynamic=1)  # compiles for two sizes, and then once for all
    for shape in shapes:
        x = draw(*shape)
        np.testing.assert_array_equal(graph(Tensor(x)).asnumpy(), cell(Tensor(2 * x)).asnumpy() + 1)


@pytest.mark.parametrize(
    "make",
    [
        GELU,
        lambda: LayerNorm(6, 1e-5),
        lambda: GroupNorm(3, 6),
        lambda: Dense(6, 6),
        lambda: Residual(6),
        lambda: DepthwiseConv2d(6),
    ],
)
def test_without_the_operators_the_cells_are_the_same(make):
    x, gradient = draw(2, 6, 6, 6), draw(2, 6, 6, 6, seed=1)
    ms.set_seed(0)
    quick = outcome(make(), x, gradient)
    ms.set_seed(0)
    with native.disabled():
        plain = outcome(make(), x, gradient)
    for ours, other in zip(quick, plain, strict=True):
        assert error(ours, other.asnumpy()) < 2e-6
