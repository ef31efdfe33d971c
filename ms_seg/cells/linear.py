"""The operator in C behind linear layers. Where there are none, `Dense` and `Conv2d` do without."""

from __future__ import annotations

from mindspore import Tensor, nn, ops

from ms_seg.cells import native
from ms_seg.cells.activation import GELU, QuickGELU
from ms_seg.cells.precision import linear_in_bfloat16


class NativeLinear(nn.Cell):
    """x (..., in), weight (out, in), bias (out), residual (..., out) -> residual + activation(x weight^T + bias).

    The weight may be a convolution's, (out, C, k, k), whose last axes are taken as one.

    A ReLU is part of the operator, GELU and QuickGELU only where nothing is trained: their gradients need what they are
    of. Without the activation, and with MindSpore's own product and bias, two cores (AMD Zen 4, whose peak is 215
    GFLOP/s) do 901 rows of 1024 -> 4096 channels at 192 and 150 GFLOP/s, 16,464 rows of 4096 -> 1024 at 212 and 190,
    16,384 rows of 32 -> 128 at 90 and 65.
    """

    def __init__(self, activation: nn.Cell | None = None):
        super().__init__()
        self.activation = activation
        self.with_relu, self.with_gelu = isinstance(activation, nn.ReLU), isinstance(activation, GELU)
        self.with_quick_gelu = isinstance(activation, QuickGELU)
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

        def quick_gelu_bprop(
            x: Tensor, weight: Tensor, bias: Tensor, out: Tensor, dout: Tensor
        ) -> tuple[Tensor, Tensor, Tensor]:
            of = linear(x, weight, bias)
            gate = ops.sigmoid(1.702 * of)
            return bprop(x, weight, bias, out, dout * (gate + 1.702 * of * gate * (1 - gate)))

        def residual_bprop(
            x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor, out: Tensor, dout: Tensor
        ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            return *bprop(x, weight, bias, out, dout), dout

        self.linear = linear
        self.linear_residual = native.operator("linear_residual", 4, residual_bprop)
        self.linear_relu = native.operator("linear_relu", 3, relu_bprop)
        self.linear_gelu = native.operator("linear_gelu", 3, gelu_bprop)
        self.linear_quick_gelu = native.operator("linear_quick_gelu", 3, quick_gelu_bprop)

        self.bfloat16 = native.operator("linear_bfloat16", 3)
        self.relu_bfloat16 = native.operator("linear_relu_bfloat16", 3)
        self.gelu_bfloat16 = native.operator("linear_gelu_bfloat16", 3)
        self.residual_bfloat16 = native.operator("linear_residual_bfloat16", 4)

    def construct(self, x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor | None = None) -> Tensor:
        rounded = linear_in_bfloat16() and not self.training
        if self.activation is None:
            if residual is None:
                return (self.bfloat16 if rounded else self.linear)(x, weight, bias)
            return (self.residual_bfloat16 if rounded else self.linear_residual)(x, weight, bias, residual)
        if self.with_relu:
            x = (self.relu_bfloat16 if rounded else self.linear_relu)(x, weight, bias)
        elif self.with_gelu and not self.training:
            x = (self.gelu_bfloat16 if rounded else self.linear_gelu)(x, weight, bias)
        elif self.with_quick_gelu and not self.training and not rounded:
            x = self.linear_quick_gelu(x, weight, bias)
        else:
            x = self.activation((self.bfloat16 if rounded else self.linear)(x, weight, bias))
        return x if residual is None else residual + x


class NativeLinearOfMap(nn.Cell):
    """x (N, C, H, W), weight (O, C) or (O, C, 1, 1), bias (O) -> tokens (N, H, W, O), without turning x. Only in C."""

    def __init__(self) -> None:
        super().__init__()
        x_grad, weight_grad = native.gradient("conv1x1_x_grad", of=1), native.gradient("linear_weight_grad", of=1)

        def bprop(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            of_x = x_grad(x, ops.reshape(weight, (*weight.shape, 1, 1)), ops.transpose(dout, (0, 3, 1, 2)))
            return of_x, weight_grad(weight, ops.transpose(x, (0, 2, 3, 1)), dout), dout.sum((0, 1, 2))

        self.forward = native.operator("linear_of_map", 3, bprop)

    def construct(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self.forward(x, weight, bias)


class NativeLinearToMap(nn.Cell):
    """Tokens x (N, H, W, C), weight (O, C) or (O, C, 1, 1), bias (O) -> (N, O, H, W), without turning it. Only in C."""

    def __init__(self) -> None:
        super().__init__()
        x_grad, weight_grad = native.gradient("linear_x_grad", of=1), native.gradient("linear_weight_grad", of=1)

        def bprop(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            dout = ops.transpose(dout, (0, 2, 3, 1))
            return x_grad(x, weight, dout), weight_grad(weight, x, dout), dout.sum((0, 1, 2))

        self.forward = native.operator("linear_to_map", 3, bprop)

    def construct(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self.forward(x, weight, bias)
