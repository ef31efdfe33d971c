"""The linear layer of transformers."""

from __future__ import annotations

from mindspore import Tensor, nn, ops
from mindspore.common.initializer import TruncatedNormal

from ms_seg.cells.precision import product


class Dense(nn.Dense):
    """(..., in_channels) -> (..., out_channels); starts as in transformers: truncated normal of 0.02, zero bias."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True):
        super().__init__(in_channels, out_channels, weight_init=TruncatedNormal(0.02), bias_init="zeros", has_bias=bias)

    def construct(self, x: Tensor) -> Tensor:
        rows = product(self.matmul, ops.reshape(x, (-1, self.in_channels)), self.weight)
        if self.has_bias:
            rows = self.bias_add(rows, self.bias)
        return ops.reshape(rows, x.shape[:-1] + (self.out_channels,))
