"""Cells around those that have native operators, run as graphs and differentiated."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from ms_seg.cells.norm import LayerScale
from tests.cells.native.calls import draw


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


class Residual(nn.Cell):
    """A branch of half of x."""

    def __init__(self, channels: int):
        super().__init__()
        self.scale = LayerScale(channels, 1.0)
        self.scale.gamma.set_data(Tensor(draw(channels, seed=2)))

    def construct(self, x: Tensor) -> Tensor:
        return self.scale(x, x * 0.5)


class Tokens(nn.Cell):
    """The output of a convolution to tokens, without their grid."""

    def __init__(self, cell: nn.Cell):
        super().__init__()
        self.cell = cell

    def construct(self, x: Tensor) -> Tensor:
        return self.cell(x)[0]
