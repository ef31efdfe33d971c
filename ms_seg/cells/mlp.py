"""Linear layers of transformers, and their feed-forward networks."""

from __future__ import annotations

from mindspore import Tensor, nn, ops
from mindspore.common.initializer import TruncatedNormal

from ms_seg.cells.activation import gelu
from ms_seg.cells.conv import Conv2d, DepthwiseConv2d
from ms_seg.cells.precision import in_precision
from ms_seg.cells.tokens import MapToTokens, TokensToMap


class Dense(nn.Dense):
    """(..., in_channels) -> (..., out_channels). Initialised as transformers': truncated normal of 0.02, zero bias."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True):
        super().__init__(in_channels, out_channels, weight_init=TruncatedNormal(0.02), bias_init="zeros", has_bias=bias)

    def construct(self, x: Tensor) -> Tensor:
        rows = in_precision(self.matmul, ops.reshape(x, (-1, self.in_channels)), self.weight)
        if self.has_bias:
            rows = self.bias_add(rows, self.bias)
        return ops.reshape(rows, x.shape[:-1] + (self.out_channels,))


class MLP(nn.Cell):
    """Linear, activation, linear: (..., channels) -> the same."""

    def __init__(self, channels: int, hidden: int, activation: nn.Cell):
        super().__init__()
        self.fc1 = Dense(channels, hidden)
        self.activation = activation
        self.fc2 = Dense(hidden, channels)

    def construct(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(x)))


class MixFFN(nn.Cell):
    """Linear, depthwise 3x3 convolution, GELU, linear: the convolution's zero padding encodes positions.

    Tokens (N, H*W, C) -> (N, H*W, C). SegFormer, equation 3 (arXiv:2105.15203). The linear layers are 1x1 convolutions
    on the map, so that C channels are transposed and not the hidden 4 C.
    """

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.to_map, self.to_tokens = TokensToMap(), MapToTokens()
        self.fc1 = Conv2d(channels, hidden, 1)
        self.dwconv = DepthwiseConv2d(hidden)
        self.gelu = gelu()
        self.fc2 = Conv2d(hidden, channels, 1)

    def construct(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        x = self.to_map(x, grid)
        return self.to_tokens(self.fc2(self.gelu(self.dwconv(self.fc1(x)))))
