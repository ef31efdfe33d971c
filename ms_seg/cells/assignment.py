"""The linear assignment problem, within a graph."""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, nn, ops

from ms_seg.cells import native


class NativeAssignment(nn.Cell):
    """Which query is to have which target: the pairs whose costs are the least together. Only in C, without gradients.

    Costs (N, Q, M) float32, targets (N, M) int32, negative where there is none -> queries and targets, both (N, M)
    int32: the pairs of a sample in the order of their queries, as many as there are of the fewer, then -1. NaN and
    infinite costs count as large ones. The pairs are those of scipy.optimize.linear_sum_assignment, unless several are
    as cheap.
    """

    def __init__(self) -> None:
        super().__init__()

        def bprop(costs: Tensor, targets: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
            return ops.zeros_like(costs), targets

        self.assign = native.operator("assignment", 2, bprop)

    def construct(self, costs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        pairs = self.assign(costs, targets).astype(ms.int32)
        return pairs[0], pairs[1]
