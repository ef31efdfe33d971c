"""GELU, LayerNorm, LayerScale and convolutions are what their formulas say, with gradients, at every size."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import mindspore as ms
import numpy as np
import pytest
import torch
from mindspore import Tensor, nn, ops

from ms_seg.cells import native
from ms_seg.cells.activation import GELU, QuickGELU
from ms_seg.cells.conv import Conv2d, DepthwiseConv2d, NativeDepthwiseGELU
from ms_seg.cells.drop import Drop, give_noise
from ms_seg.cells.linear import NativeLinear, NativeLinearOfMap, NativeLinearToMap
from ms_seg.cells.mlp import Dense, MixFFN
from ms_seg.cells.norm import GroupNorm, LayerNorm, LayerScale
from ms_seg.cells.resize import NativeResizedSum
from ms_seg.cells.tokens import ConvToTokens, MapToTokens, SwapAxes, TokenConv

LARGE = (2, 16, 256, 260)  # enough work for two threads
SHAPES = [(1, 3, 1, 1), (2, 5, 4, 1), (1, 4, 1, 6), (2, 3, 7, 5), LARGE]


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def error(ours: Tensor, truth: np.ndarray) -> float:
    return float(np.linalg.norm(ours.asnumpy() - truth) / np.linalg.norm(truth))


class Trained(nn.Cell):
    """Output of a cell, and the gradients of its input and its parameters for a given gradient of the output."""

    def __init__(self, cell: nn.Cell, training: bool):
        super().__init__()
        self.cell = cell.set_train(training)
        self.pull_back = ms.grad(self.weighted, 0, cell.trainable_params() or None)

    def weighted(self, x: Tensor, gradient: Tensor) -> Tensor:
        return (self.cell(x) * gradient).sum()

    def construct(self, x: Tensor, gradient: Tensor):
        return self.cell(x), self.pull_back(x, gradient)


def outcome(cell: nn.Cell, x: np.ndarray, gradient: np.ndarray, training: bool = True) -> list[Tensor]:
    out, gradients = ms.jit(Trained(cell, training).construct)(Tensor(x), Tensor(gradient))
    return [out, gradients[0], *gradients[1]] if cell.trainable_params() else [out, gradients]


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


class Residual(nn.Cell):
    """A branch of half of x."""

    def __init__(self, channels: int):
        super().__init__()
        self.scale = LayerScale(channels, 1.0)
        self.scale.gamma.set_data(Tensor(draw(channels, seed=2)))

    def construct(self, x: Tensor) -> Tensor:
        return self.scale(x, x * 0.5)


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


# ------------------------------------------------------------------------------------------- tokens, in inference


def gradients(cell: nn.Cell, dout: np.ndarray, *inputs: np.ndarray) -> list[Tensor]:
    """The gradients of all inputs of a cell, of a graph that PyNative differentiates, in inference."""
    graph, weights = ms.jit(cell.set_train(False).construct), Tensor(dout)

    def weighted(*tensors: Tensor) -> Tensor:
        return (graph(*tensors) * weights).sum()

    found = ms.grad(weighted, tuple(range(len(inputs))))(*map(Tensor, inputs))
    return [found] if len(inputs) == 1 else list(found)


def torch_gradients(function: Callable, dout: np.ndarray, *inputs: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The output of a function of PyTorch and the gradients of its inputs, in float64."""
    tensors = [torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in inputs]
    out = function(*tensors)
    out.backward(torch.tensor(dout, dtype=torch.float64))
    return out.detach().numpy(), [tensor.grad.numpy() for tensor in tensors]


def check(cell: nn.Cell, function: Callable, *inputs: np.ndarray) -> None:
    """That a cell is this function of PyTorch, with its gradients."""
    out = cell.set_train(False)(*map(Tensor, inputs))
    dout = draw(*out.shape, seed=9)
    truth, truths = torch_gradients(function, dout, *inputs)
    assert error(out, truth) < 1e-6
    for ours, gradient in zip(gradients(cell, dout, *inputs), truths, strict=True):
        assert error(ours, gradient) < 3e-6


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 5, 1, 16), (1, 1, 6, 33), (2, 7, 5, 24), (1, 70, 50, 70)])
def test_a_depthwise_convolution_of_tokens_and_gelu_are_pytorchs(shape: tuple[int, ...]):
    def function(x, weight, bias):
        x = torch.nn.functional.conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=1, groups=shape[3])
        return torch.nn.functional.gelu(x).permute(0, 2, 3, 1)

    check(NativeDepthwiseGELU(), function, draw(*shape), draw(shape[3], 1, 3, 3, seed=1), draw(shape[3], seed=2))


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 64, 1, 1), (2, 70, 40, 33)])
def test_linear_layers_from_and_to_a_map_are_pytorchs(shape: tuple[int, ...]):
    weight, bias = draw(21, shape[1], seed=1), draw(21, seed=2)
    x = draw(*shape)
    check(NativeLinearOfMap(), lambda x, w, b: torch.nn.functional.linear(x.permute(0, 2, 3, 1), w, b), x, weight, bias)
    tokens = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    check(
        NativeLinearToMap(),
        lambda x, w, b: torch.nn.functional.linear(x, w, b).permute(0, 3, 1, 2),
        *(tokens, weight, bias),
    )


@pytest.mark.parametrize("rows", [3, 2100])
def test_a_linear_layer_added_to_a_residual_is_pytorchs(rows: int):
    inputs = draw(2, rows, 40), draw(530, 40, seed=1), draw(530, seed=2), draw(2, rows, 530, seed=3)
    check(NativeLinear(), lambda x, w, b, residual: torch.nn.functional.linear(x, w, b) + residual, *inputs)


@pytest.mark.parametrize("sizes", [[(8, 12), (4, 6), (2, 3), (1, 2)], [(17, 21), (9, 11), (17, 21), (3, 3)]])
def test_a_sum_of_resized_maps_is_pytorchs(sizes: list[tuple[int, int]]):
    def function(*tensors):
        *maps, scale, bias = tensors
        maps = [torch.nn.functional.interpolate(x.permute(0, 3, 1, 2), sizes[0], mode="bilinear") for x in maps]
        return (sum(maps).permute(0, 2, 3, 1) * scale + bias).relu()

    class Sum(nn.Cell):
        def __init__(self):
            super().__init__()
            self.sum = NativeResizedSum()

        def construct(self, *tensors: Tensor) -> Tensor:
            return self.sum(tensors[:-2], tensors[-2], tensors[-1])

    check(Sum(), function, *[draw(2, *size, 19, seed=i) for i, size in enumerate(sizes)], 1 + draw(19) / 9, draw(19))


class Tokens(nn.Cell):
    """The output of a convolution to tokens, without their grid."""

    def __init__(self, cell: nn.Cell):
        super().__init__()
        self.cell = cell

    def construct(self, x: Tensor) -> Tensor:
        return self.cell(x)[0]


class OfMap(nn.Cell):
    """A cell of tokens and their grid, given a map (N, H, W, C)."""

    def __init__(self, cell: nn.Cell):
        super().__init__()
        self.cell = cell

    def construct(self, x: Tensor) -> Tensor:
        n, height, width, channels = x.shape
        return self.cell(ops.reshape(x, (n, height * width, channels)), (height, width))


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(7, 4, 3), (3, 2, 1), (4, 4, 0), (2, 3, 2)])
@pytest.mark.parametrize("size", [(7, 9), (33, 40)])
def test_a_convolution_to_tokens_is_pytorchs(kernel: int, stride: int, padding: int, size: tuple[int, int]):
    cell = ConvToTokens(5, 21, kernel, stride, padding)
    weight, bias = (torch.tensor(p.asnumpy(), dtype=torch.float64) for p in (cell.weight, cell.bias))
    convolve = partial(torch.nn.functional.conv2d, weight=weight, bias=bias, stride=stride, padding=padding)
    check(Tokens(cell), lambda x: convolve(x).flatten(2).mT, draw(2, 5, *size))


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (8, 8), (3, 2)])
def test_a_convolution_of_tokens_is_pytorchs(kernel: int, stride: int):
    cell = TokenConv(5, 21, kernel, stride)
    weight, bias = (torch.tensor(p.asnumpy(), dtype=torch.float64) for p in (cell.weight, cell.bias))
    convolve = partial(torch.nn.functional.conv2d, weight=weight, bias=bias, stride=stride)
    check(cell, lambda x: convolve(x.permute(0, 3, 1, 2)).flatten(2).mT, draw(2, 19, 17, 5))


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
