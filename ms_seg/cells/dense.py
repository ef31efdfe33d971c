"""The linear layer of transformers."""

from __future__ import annotations

from mindspore import nn
from mindspore.common.initializer import TruncatedNormal


class Dense(nn.Dense):
    """(..., in_channels) -> (..., out_channels); starts as in transformers: truncated normal of 0.02, zero bias."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True):
        super().__init__(in_channels, out_channels, weight_init=TruncatedNormal(0.02), bias_init="zeros", has_bias=bias)
