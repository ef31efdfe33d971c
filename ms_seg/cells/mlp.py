"""Linear layers of transformers, and their feed-forward networks."""

from __future__ import annotations

from mindspore import Tensor, nn, ops
from mindspore.common.initializer import TruncatedNormal

from ms_seg.cells import native
from ms_seg.cells.activation import GELU
from ms_seg.cells.conv import Conv2d, DepthwiseConv2d
from ms_seg.cells.precision import in_float32, in_precision
from ms_seg.cells.tokens import MapToTokens, TokensToMap


class Dense(nn.Dense):
    """A linear layer, and what may follow it: (..., in_channels) -> (..., out_channels).

    Initialised as transformers': truncated normal of 0.02, zero bias. activation: a cell of the result.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True, activation: nn.Cell | None = None):
        super().__init__(in_channels, out_channels, weight_init=TruncatedNormal(0.02), bias_init="zeros", has_bias=bias)
        self.activation = activation
        self.native = _NativeLinear(activation) if bias and native.available() else None

    def construct(self, x: Tensor) -> Tensor:
        if self.native is not None and in_float32():
            return self.native(x, self.weight, self.bias)
        rows = in_precision(self.matmul, ops.reshape(x, (-1, self.in_channels)), self.weight)
        if self.has_bias:
            rows = self.bias_add(rows, self.bias)
        x = ops.reshape(rows, x.shape[:-1] + (self.out_channels,))
        return x if self.activation is None else self.activation(x)


class _NativeLinear(nn.Cell):
    """x (..., in), weight (out, in), bias (out) -> the activation of (..., out), float32.

    A ReLU is part of the operator, GELU only where nothing is trained: its gradient needs what it is of. Without the
    activation, and with MindSpore's own product and bias, two cores (AMD Zen 4, whose peak is 215 GFLOP/s) do 901 rows
    of 1024 -> 4096 channels at 192 and 150 GFLOP/s, 16,464 rows of 4096 -> 1024 at 212 and 190, 16,384 rows of 32 ->
    128 at 90 and 65.
    """

    def __init__(self, activation: nn.Cell | None):
        super().__init__()
        self.activation = activation
        self.with_relu, self.with_gelu = isinstance(activation, nn.ReLU), isinstance(activation, GELU)
        x_grad = native.gradient("linear_x_grad", of=1)
        weight_grad = native.gradient("linear_weight_grad", of=1)
        bias_grad = native.gradient("linear_bias_grad", of=1)
        relu_grad, gelu_grad = native.gradient("linear_relu_grad", of=1), native.gradient("gelu_grad", of=1)

        def bprop(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return x_grad(x, weight, dout), weight_grad(weight, x, dout), bias_grad(bias, dout)

        linear = native.operator("linear", 3, bprop)

        def relu_bprop(
            x: Tensor, weight: Tensor, bias: Tensor, out: Tensor, dout: Tensor
        ) -> tuple[Tensor, Tensor, Tensor]:
            return bprop(x, weight, bias, out, relu_grad(out, dout))

        def gelu_bprop(
            x: Tensor, weight: Tensor, bias: Tensor, out: Tensor, dout: Tensor
        ) -> tuple[Tensor, Tensor, Tensor]:
            return bprop(x, weight, bias, out, gelu_grad(linear(x, weight, bias), dout))

        self.linear = linear
        self.linear_relu = native.operator("linear_relu", 3, relu_bprop)
        self.linear_gelu = native.operator("linear_gelu", 3, gelu_bprop)

    def construct(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if self.with_relu:
            return self.linear_relu(x, weight, bias)
        if self.with_gelu and not self.training:
            return self.linear_gelu(x, weight, bias)
        x = self.linear(x, weight, bias)
        return x if self.activation is None else self.activation(x)


class MLP(nn.Cell):
    """Linear, activation, linear: (..., channels) -> the same."""

    def __init__(self, channels: int, hidden: int, activation: nn.Cell):
        super().__init__()
        self.fc1 = Dense(channels, hidden, activation=activation)
        self.fc2 = Dense(hidden, channels)

    def construct(self, x: Tensor) -> Tensor:
        return self.fc2(self.fc1(x))


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
        self.gelu = GELU()
        self.fc2 = Conv2d(hidden, channels, 1)

    def construct(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        x = self.to_map(x, grid)
        return self.to_tokens(self.fc2(self.gelu(self.dwconv(self.fc1(x)))))
