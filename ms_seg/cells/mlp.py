"""Linear layers of transformers, and their feed-forward networks."""

from __future__ import annotations

from mindspore import Tensor, nn, ops
from mindspore.common.initializer import TruncatedNormal

from ms_seg.cells import native
from ms_seg.cells.activation import GELU
from ms_seg.cells.conv import Conv2d, DepthwiseConv2d, NativeDepthwiseGELU
from ms_seg.cells.linear import NativeLinear
from ms_seg.cells.precision import in_float32, in_precision
from ms_seg.cells.tokens import MapToTokens, TokensToMap


class Dense(nn.Dense):
    """A linear layer, and what may follow it: (..., in_channels) -> (..., out_channels).

    Initialised as transformers': truncated normal of 0.02, zero bias. activation: a cell of the result. residual: what
    the result is added to, in its shape.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True, activation: nn.Cell | None = None):
        super().__init__(in_channels, out_channels, weight_init=TruncatedNormal(0.02), bias_init="zeros", has_bias=bias)
        self.activation = activation
        self.native = NativeLinear(activation) if bias and native.available() else None

    def construct(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        if self.native is not None and in_float32():
            return self.native(x, self.weight, self.bias, residual)
        rows = in_precision(self.matmul, ops.reshape(x, (-1, self.in_channels)), self.weight)
        if self.has_bias:
            rows = self.bias_add(rows, self.bias)
        x = ops.reshape(rows, x.shape[:-1] + (self.out_channels,))
        x = x if self.activation is None else self.activation(x)
        return x if residual is None else residual + x


class MLP(nn.Cell):
    """Linear, activation, linear: (..., channels) -> the same. residual: what the result is added to."""

    def __init__(self, channels: int, hidden: int, activation: nn.Cell):
        super().__init__()
        self.fc1 = Dense(channels, hidden, activation=activation)
        self.fc2 = Dense(hidden, channels)

    def construct(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        return self.fc2(self.fc1(x), residual)


class MixFFN(nn.Cell):
    """Linear, depthwise 3x3 convolution, GELU, linear: the convolution's zero padding encodes positions.

    Tokens (N, H*W, C) -> (N, H*W, C). residual: what the result is added to. SegFormer, equation 3 (arXiv:2105.15203).
    In training the linear layers are 1x1 convolutions on the map, so that C channels are transposed and not the hidden
    4 C.
    """

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.to_map, self.to_tokens = TokensToMap(), MapToTokens()
        self.fc1 = Conv2d(channels, hidden, 1)
        self.dwconv = DepthwiseConv2d(hidden)
        self.gelu = GELU()
        self.fc2 = Conv2d(hidden, channels, 1)
        self.native = native.available()
        if self.native:
            self.linear, self.dwconv_gelu = NativeLinear(), NativeDepthwiseGELU()

    def construct(self, x: Tensor, grid: tuple[int, int], residual: Tensor | None = None) -> Tensor:
        if self.native and not self.training and in_float32():
            return self._on_tokens(x, grid, residual)
        x = self.to_map(x, grid)
        x = self.to_tokens(self.fc2(self.gelu(self.dwconv(self.fc1(x)))))
        return x if residual is None else residual + x

    def _on_tokens(self, x: Tensor, grid: tuple[int, int], residual: Tensor | None) -> Tensor:
        n, length, channels = x.shape
        x = self.linear(ops.reshape(x, (n, *grid, channels)), self.fc1.weight, self.fc1.bias)
        x = self.dwconv_gelu(x, self.dwconv.weight, self.dwconv.bias)
        return self.linear(ops.reshape(x, (n, length, -1)), self.fc2.weight, self.fc2.bias, residual)
