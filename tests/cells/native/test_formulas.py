"""Norms, activations, linear layers and convolutions are what their formulas say, with gradients, at every size."""

from __future__ import annotations

import math

import numpy as np
import pytest
from mindspore import Tensor, nn

from ms_seg.cells import native
from ms_seg.cells.activation import GELU, QuickGELU
from ms_seg.cells.conv import Conv2d, DepthwiseConv2d
from ms_seg.cells.drop import Drop, give_noise
from ms_seg.cells.mlp import Dense
from ms_seg.cells.norm import GroupNorm, LayerNorm
from ms_seg.cells.tokens import MapToTokens, SwapAxes
from tests.cells.native.calls import draw
from tests.cells.native.graphs import Residual, error, outcome

LARGE = (2, 16, 256, 260)  # enough work for two threads
SHAPES = [(1, 3, 1, 1), (2, 5, 4, 1), (1, 4, 1, 6), (2, 3, 7, 5), LARGE]


def test_this_machine_has_the_operators():
    """CI has a compiler: without it the tests below would see MindSpore's operators alone."""
    assert native.available()


@pytest.mark.parametrize("shape", [(3,), LARGE])
def test_gelu_and_its_gradient_are_those_of_the_normal_distribution(shape: tuple[int, ...]):
    x, gradient = 3 * draw(*shape), draw(*shape, seed=1)
    out, of_x = outcome(GELU(), x, gradient)
    distribution = 0.5 + 0.5 * np.vectorize(math.erf)(x.astype(np.float64) / math.sqrt(2))
    density = np.exp(-0.5 * x.astype(np.float64) ** 2) / math.sqrt(2 * math.pi)
    assert error(out, x * distribution) < 2e-7
    assert error(of_x, gradient * (distribution + x * density)) < 2e-7


def test_gelu_of_nan_is_nan():
    x = np.array([np.nan, np.inf, -np.inf, 0, 1e30, -1e30], np.float32)
    out, _ = outcome(GELU(), x, np.ones_like(x))
    assert np.isnan(out.asnumpy()[0])
    assert out.asnumpy()[[1, 3, 4]].tolist() == [np.inf, 0, np.float32(1e30)]


@pytest.mark.parametrize("shape", [(4, 1), (2, 3, 24), (2, 4096, 260)])
def test_layer_norm_and_its_gradients_are_those_of_the_formula(shape: tuple[int, ...]):
    cell = LayerNorm(shape[-1], 1e-3)
    cell.gamma.set_data(Tensor(draw(shape[-1], seed=2)))
    cell.beta.set_data(Tensor(draw(shape[-1], seed=3)))
    x, gradient = 2 * draw(*shape) + 1, draw(*shape, seed=1)
    out, of_x, of_gamma, of_beta = outcome(cell, x, gradient)

    gamma, wide = cell.gamma.asnumpy(), x.astype(np.float64)
    scale = 1 / np.sqrt(wide.var(-1, keepdims=True) + 1e-3)
    normal, weighted = (wide - wide.mean(-1, keepdims=True)) * scale, gradient * gamma.astype(np.float64)
    rest = weighted.mean(-1, keepdims=True) + normal * (weighted * normal).mean(-1, keepdims=True)
    axes = tuple(range(len(shape) - 1))
    assert error(out, normal * gamma + cell.beta.asnumpy()) < 5e-7
    if shape[-1] > 1:
        assert error(of_x, scale * (weighted - rest)) < 5e-7
        assert error(of_gamma, (gradient * normal).sum(axes)) < 5e-6
    assert error(of_beta, gradient.astype(np.float64).sum(axes)) < 5e-6


@pytest.mark.parametrize("shape", [(1, 4, 1, 2), (2, 6, 3, 5), (3, 4, 130, 131)])
def test_group_norm_and_its_gradients_are_those_of_the_formula(shape: tuple[int, ...]):
    cell = GroupNorm(2, shape[1])
    cell.gamma.set_data(Tensor(draw(shape[1], seed=2)))
    cell.beta.set_data(Tensor(draw(shape[1], seed=3)))
    x, gradient = 2 * draw(*shape) + 1, draw(*shape, seed=1)
    out, of_x, of_gamma, of_beta = outcome(cell, x, gradient)

    gamma, beta = (p.asnumpy().astype(np.float64).reshape(1, -1, 1, 1) for p in (cell.gamma, cell.beta))
    grouped = x.astype(np.float64).reshape(shape[0], 2, -1)
    scale = 1 / np.sqrt(grouped.var(-1, keepdims=True) + 1e-5)
    normal = (grouped - grouped.mean(-1, keepdims=True)) * scale
    weighted = (gradient * gamma).reshape(grouped.shape)
    rest = weighted.mean(-1, keepdims=True) + normal * (weighted * normal).mean(-1, keepdims=True)
    assert error(out, normal.reshape(shape) * gamma + beta) < 5e-7
    assert error(of_x, (scale * (weighted - rest)).reshape(shape)) < 1e-6
    assert error(of_gamma, (gradient * normal.reshape(shape)).sum((0, 2, 3))) < 2e-6
    assert error(of_beta, gradient.astype(np.float64).sum((0, 2, 3))) < 2e-6


ROWS = [(1, 3, 2), (7, 40, 33), (2100, 17, 1), (2500, 500, 520), (900, 260, 1200)]  # each way of cutting a product


@pytest.mark.parametrize(("rows", "inputs", "outputs"), ROWS)
@pytest.mark.parametrize("activation", [None, nn.ReLU, GELU, QuickGELU])
def test_a_linear_layer_and_its_gradients_are_those_of_the_formula(rows, inputs, outputs, activation):
    cell = Dense(inputs, outputs, activation=activation and activation())
    cell.weight.set_data(Tensor(draw(outputs, inputs, seed=2)))
    cell.bias.set_data(Tensor(draw(outputs, seed=3)))
    x, gradient = draw(1, rows, inputs), draw(1, rows, outputs, seed=1)
    weight, bias = cell.weight.asnumpy().astype(np.float64), cell.bias.asnumpy()
    sums = x.astype(np.float64) @ weight.T + bias
    truth, slope = _activated(sums, activation)
    for training in (True, False):  # GELU is within the operator in one, and after it in the other
        made = outcome(cell, x, gradient, training)
        of_sums = gradient * slope
        assert error(made[0], truth) < 1e-6
        assert error(made[1], of_sums @ weight) < 2e-6
        assert error(made[2], of_sums[0].T @ x[0]) < 2e-6
        assert error(made[3], of_sums.sum((0, 1))) < 5e-6


def _activated(x: np.ndarray, activation: type[nn.Cell] | None) -> tuple[np.ndarray, np.ndarray]:
    """An activation of x and its slope there, in float64."""
    if activation is None:
        return x, np.ones_like(x)
    if activation is nn.ReLU:
        return np.maximum(x, 0), (x > 0).astype(np.float64)
    if activation is GELU:
        distribution = 0.5 + 0.5 * np.vectorize(math.erf)(x / math.sqrt(2))
        return x * distribution, distribution + x * np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)
    sigmoid = 1 / (1 + np.exp(-1.702 * x))
    return x * sigmoid, sigmoid * (1 + 1.702 * x * (1 - sigmoid))


@pytest.mark.parametrize("make", [SwapAxes, MapToTokens])
@pytest.mark.parametrize("shape", [(2, 5, 7, 3), LARGE])
def test_axes_that_are_swapped_and_their_gradients_are_numpys(make, shape: tuple[int, ...]):
    n, first, second, third = shape
    x = draw(*shape)
    truth = x.transpose(0, 2, 1, 3) if make is SwapAxes else x.reshape(n, first, -1).transpose(0, 2, 1)
    gradient = draw(*truth.shape, seed=1)
    of_x = gradient.transpose(0, 2, 1, 3) if make is SwapAxes else gradient.transpose(0, 2, 1).reshape(shape)
    for ours, its_truth in zip(outcome(make(), x, gradient), (truth, of_x), strict=True):
        np.testing.assert_array_equal(ours.asnumpy(), its_truth)


@pytest.mark.parametrize("shape", [(4, 1), (2, 3, 24), (2, 4096, 260)])
def test_a_layer_scale_and_its_gradients_are_those_of_the_formula(shape: tuple[int, ...]):
    cell, x, gradient = Residual(shape[-1]), draw(*shape), draw(*shape, seed=1)
    out, of_x, of_gamma = outcome(cell, x, gradient)
    factor = 1 + 0.5 * cell.scale.gamma.asnumpy().astype(np.float64)
    assert error(out, x * factor) < 2e-7
    assert error(of_x, gradient * factor) < 2e-7
    truth = 0.5 * x.astype(np.float64) * gradient
    assert error(of_gamma, truth.sum(tuple(range(len(shape) - 1)))) < 5e-6


@pytest.mark.parametrize(("shape", "width"), [((2, 5, 7), 1), ((3, 4, 2, 5), 4), (LARGE, 1), (LARGE, LARGE[1])])
def test_what_is_dropped_has_no_gradient_and_what_is_kept_is_scaled(shape: tuple[int, ...], width: int):
    cell, x, gradient = Drop(0.5, width), draw(*shape), draw(*shape, seed=1)
    (noise,) = give_noise(cell, shape[0])
    uniform = np.random.default_rng(2).random((shape[0], width), np.float32)
    noise.set_data(Tensor(uniform))
    factors = np.where(uniform >= 0.5, 2.0, 0.0).reshape(shape[0], width, *(1,) * (len(shape) - 2)).astype(np.float32)
    out, of_x = outcome(cell, x, gradient)[:2]
    np.testing.assert_array_equal(out.asnumpy(), x * factors)
    np.testing.assert_array_equal(of_x.asnumpy(), gradient * factors)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_depthwise_convolution_and_its_gradients_are_sums_over_windows(shape: tuple[int, ...]):
    cell = DepthwiseConv2d(shape[1])
    cell.weight.set_data(Tensor(draw(shape[1], 1, 3, 3, seed=2)))
    cell.bias.set_data(Tensor(draw(shape[1], seed=3)))
    x, gradient = draw(*shape), draw(*shape, seed=1)
    out, of_x, of_weight, of_bias = outcome(cell, x, gradient)

    around = ((0, 0), (0, 0), (1, 1), (1, 1))
    padded, padded_gradient = np.pad(x.astype(np.float64), around), np.pad(gradient.astype(np.float64), around)
    weight, (height, width) = cell.weight.asnumpy().reshape(-1, 3, 3).astype(np.float64), shape[2:]
    taps = [(i, j) for i in range(3) for j in range(3)]
    windows = {(i, j): padded[:, :, i : i + height, j : j + width] for i, j in taps}
    mirrored = {(i, j): padded_gradient[:, :, 2 - i : 2 - i + height, 2 - j : 2 - j + width] for i, j in taps}
    truth = sum(weight[None, :, i, j, None, None] * windows[i, j] for i, j in taps)
    of_weights = np.stack([(windows[tap] * gradient).sum((0, 2, 3)) for tap in taps], 1).reshape(-1, 1, 3, 3)
    assert error(out, truth + cell.bias.asnumpy().reshape(1, -1, 1, 1)) < 5e-7
    assert error(of_x, sum(weight[None, :, i, j, None, None] * mirrored[i, j] for i, j in taps)) < 5e-7
    assert error(of_weight, of_weights) < 2e-6
    assert error(of_bias, gradient.astype(np.float64).sum((0, 2, 3))) < 5e-6


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (2, 5, 6, 7), (3, 70, 50, 45), (1, 600, 33, 7)])
def test_a_1x1_convolution_and_its_gradients_are_sums_over_channels(shape: tuple[int, ...]):
    cell = Conv2d(shape[1], 530, 1)
    cell.weight.set_data(Tensor(draw(530, shape[1], 1, 1, seed=2)))
    cell.bias.set_data(Tensor(draw(530, seed=3)))
    x, gradient = draw(*shape), draw(shape[0], 530, *shape[2:], seed=1)
    out, of_x, of_weight, of_bias = outcome(cell, x, gradient)
    weight, wide = cell.weight.asnumpy()[:, :, 0, 0].astype(np.float64), gradient.astype(np.float64)
    truth = np.einsum("oc,nchw->nohw", weight, x, optimize=True) + cell.bias.asnumpy().reshape(1, -1, 1, 1)
    assert error(out, truth) < 1e-6
    assert error(of_x, np.einsum("oc,nohw->nchw", weight, wide, optimize=True)) < 1e-6
    assert error(of_weight[:, :, 0, 0], np.einsum("nohw,nchw->oc", wide, x, optimize=True)) < 2e-6
    assert error(of_bias, wide.sum((0, 2, 3))) < 1e-6


@pytest.mark.parametrize("shape", [(1, 32, 1, 1), (2, 32, 6, 1), (1, 40, 1, 7), (2, 70, 9, 8), (1, 32, 130, 131)])
def test_a_convolution_by_winograds_algorithm_and_its_gradients_are_sums_over_windows(shape: tuple[int, ...]):
    cell = Conv2d(shape[1], 34, 3, padding=1)
    assert cell.winograd is not None
    cell.weight.set_data(Tensor(draw(34, shape[1], 3, 3, seed=2)))
    cell.bias.set_data(Tensor(draw(34, seed=3)))
    x, gradient = draw(*shape), draw(shape[0], 34, *shape[2:], seed=1)
    out, of_x, of_weight, of_bias = outcome(cell, x, gradient)

    around = ((0, 0), (0, 0), (1, 1), (1, 1))
    windows, gradients = (
        np.lib.stride_tricks.sliding_window_view(np.pad(array.astype(np.float64), around), (3, 3), (2, 3))
        for array in (x, gradient)
    )
    weight = cell.weight.asnumpy().astype(np.float64)
    truth = np.einsum("nchwij,ocij->nohw", windows, weight, optimize=True)
    assert error(out, truth + cell.bias.asnumpy().reshape(1, -1, 1, 1)) < 1e-6
    assert error(of_x, np.einsum("nohwij,ocij->nchw", gradients, weight[..., ::-1, ::-1], optimize=True)) < 1e-6
    assert error(of_weight, np.einsum("nchwij,nohw->ocij", windows, gradient, optimize=True)) < 2e-6
    assert error(of_bias, gradient.astype(np.float64).sum((0, 2, 3))) < 5e-6
