"""Dropout and stochastic depth. The cells draw no random numbers: their caller provides them.

A framework's generator cannot be set back to where a killed run was, and draws other numbers in two processes than in
one. So each cell reads uniform numbers, one row a sample, from its parameter `uniform`, which `give_noise` creates and
the trainer fills before every step.
"""

from __future__ import annotations

from mindspore import Parameter, Tensor, nn, ops


class Drop(nn.Cell):
    """Multiplies its input by 0, with probability `rate`, or else by 1 / (1 - rate); in inference it is the identity.

    (N, ...) -> (N, ...). Each of `width` parts of a sample, along the second axis, is dropped by itself.
    """

    def __init__(self, rate: float, width: int):
        super().__init__()
        self.rate, self.width = rate, width
        self.keep = _Keep()

    def construct(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        kept = (self.uniform >= self.rate).astype(x.dtype) / (1 - self.rate)  # (N, width)
        return self.keep(x, ops.reshape(kept, kept.shape + (1,) * (x.ndim - 2)))


class _Keep(nn.Cell):
    """x * kept, without a gradient of `kept`.

    It is written out because MindSpore 2.8 makes a graph with a cycle of this product in a block that is recomputed.
    """

    def construct(self, x: Tensor, kept: Tensor) -> Tensor:
        return x * kept

    def bprop(self, x: Tensor, kept: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        return dout * kept, kept


class DropPath(Drop):
    """Drops a residual branch of a whole sample: stochastic depth (arXiv:1603.09382)."""

    def __init__(self, rate: float):
        super().__init__(rate, 1)


class Dropout2d(Drop):
    """Drops whole channels of (N, channels, H, W)."""

    def __init__(self, rate: float, channels: int):
        super().__init__(rate, channels)


def give_noise(model: nn.Cell, batch_size: int) -> list[Parameter]:
    """Create the parameters `uniform`, (batch_size, width) float32, of all cells of a model with a rate above 0.

    They do not belong to the model: collect its own parameters before.
    """
    drops = [cell for _, cell in model.cells_and_names() if isinstance(cell, Drop) and cell.rate > 0.0]
    for index, cell in enumerate(drops):
        zeros = ops.zeros((batch_size, cell.width))
        cell.uniform = Parameter(zeros, name=f"noise.{index}", requires_grad=False)
    return [cell.uniform for cell in drops]
