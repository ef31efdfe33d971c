"""Dropout and stochastic depth. The cells draw no random numbers: their caller provides them.

A framework's generator cannot be set back to where a killed run was, and draws other numbers in two processes than in
one. So each cell reads uniform numbers, one row a sample, from its parameter `uniform`, which `give_noise` creates and
the trainer fills before every step.
"""

from __future__ import annotations

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops

from ms_seg.cells import native


class Drop(nn.Cell):
    """Multiplies its input by 0, with probability `rate`, or else by 1 / (1 - rate); in inference it is the identity.

    (N, ...) -> (N, ...). Each of `width` parts of a sample, along the second axis, is dropped by itself.
    """

    def __init__(self, rate: float, width: int):
        super().__init__()
        self.rate, self.width = rate, width
        self.keep = _Keep()
        self.float32_keep = _NativeKeep() if native.available() else self.keep

    def construct(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        kept = (self.uniform >= self.rate).astype(x.dtype) / (1 - self.rate)  # (N, width)
        return self.float32_keep(x, kept) if x.dtype == ms.float32 else self.keep(x, kept)


class _Keep(nn.Cell):
    """(N, ...) and (N, width) -> x * kept, without a gradient of `kept`.

    It is written out because MindSpore 2.8 makes a graph with a cycle of this product in a block that is recomputed.
    """

    def construct(self, x: Tensor, kept: Tensor) -> Tensor:
        return x * ops.reshape(kept, kept.shape + (1,) * (x.ndim - 2))

    def bprop(self, x: Tensor, kept: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        return dout * ops.reshape(kept, kept.shape + (1,) * (x.ndim - 2)), kept


class _NativeKeep(nn.Cell):
    """In one pass. The product of two shapes leaves 16 bytes for each of its elements behind on the CPU for as long as
    its graph lives, and so does its gradient's: 5 GB in the 24 blocks of BEiT-L at 896x896."""

    def __init__(self) -> None:
        super().__init__()
        back = native.operator("scale_rows", 2)

        def bprop(x: Tensor, factors: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
            return back(dout, factors), factors  # nothing asks for the second

        self.scale_rows = native.operator("scale_rows", 2, bprop)

    def construct(self, x: Tensor, kept: Tensor) -> Tensor:
        rows = kept.size
        return ops.reshape(self.scale_rows(ops.reshape(x, (rows, -1)), ops.reshape(kept, (rows,))), x.shape)


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
