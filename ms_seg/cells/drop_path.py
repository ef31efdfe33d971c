"""Stochastic depth."""

from __future__ import annotations

from mindspore import Tensor, nn, ops


class DropPath(nn.Cell):
    """While training, drops a residual branch of a whole sample with probability `rate` and scales the others up.

    (N, ...) -> (N, ...). Deep Networks with Stochastic Depth (arXiv:1603.09382).
    """

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate
        self.dropout = nn.Dropout(p=rate)

    def construct(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        keep = self.dropout(ops.ones((x.shape[0],) + (1,) * (x.ndim - 1), x.dtype))  # 0 or 1 / (1 - rate)
        return x * keep
