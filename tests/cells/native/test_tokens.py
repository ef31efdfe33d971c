"""Operators of tokens in inference are PyTorch's, with the gradients that PyNative takes through them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import mindspore as ms
import numpy as np
import pytest
import torch
from mindspore import Tensor, nn

from ms_seg.cells.conv import NativeDepthwiseGELU
from ms_seg.cells.linear import NativeLinear, NativeLinearOfMap, NativeLinearToMap
from ms_seg.cells.resize import NativeResizedSum
from ms_seg.cells.tokens import ConvToTokens, TokenConv
from tests.cells.native.calls import draw
from tests.cells.native.graphs import Tokens, error


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
