"""Convolutions with PyTorch's padding, and the convolution, batch norm and ReLU that segmentation heads consist of."""

from __future__ import annotations

import math

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import HeNormal, HeUniform, Initializer, Normal, initializer

from ms_seg.cells import native
from ms_seg.cells.device import on_cpu
from ms_seg.cells.norm import BatchNorm2d, FrozenBatchNorm2d, affine
from ms_seg.cells.precision import in_float32, in_precision

_WINOGRAD_CHANNELS = 32  # with fewer, the transforms take as long as what they spare


def fan_out_normal(kernel: int, out_channels: int, groups: int = 1) -> Initializer:
    """Normal with variance 2 / fan_out, the initialisation of convolutions in vision transformers."""
    return Normal(math.sqrt(2.0 * groups / (kernel * kernel * out_channels)))


def fan_in_uniform() -> Initializer:
    """Uniform within 1 / sqrt(fan_in): PyTorch's own initialisation of linear layers and convolutions."""
    return HeUniform(negative_slope=math.sqrt(5))


class Conv2d(nn.Conv2d):
    """A 2-D convolution with zero padding, `padding` wide on each side as in PyTorch.

    (N, in_channels, H, W) -> (N, out_channels, (H + 2 padding - kernel) // stride + 1, likewise for W). Sides that
    differ are given as four numbers: top, bottom, left, right.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        padding: int | tuple[int, int, int, int] = 0,
        groups: int = 1,
        bias: bool = True,
        weight_init: Initializer | None = None,
    ):
        super().__init__(
            in_channels,
            out_channels,
            kernel,
            stride,
            pad_mode="pad",
            padding=padding,
            group=groups,
            has_bias=bias,
            weight_init=weight_init or fan_out_normal(kernel, out_channels, groups),
            bias_init="zeros",
        )

        keeps_size = (kernel, stride, padding, groups) == (3, 1, 1, 1)
        wide = min(in_channels, out_channels) >= _WINOGRAD_CHANNELS
        self.winograd = _Winograd() if keeps_size and wide and native.available() else None
        pointwise = (kernel, stride, padding, groups, bias) == (1, 1, 0, 1, True)
        self.pointwise = _NativePointwise() if pointwise and native.available() else None

    def construct(self, x: Tensor) -> Tensor:
        if self.pointwise is not None and in_float32():
            return self.pointwise(x, self.weight, self.bias)
        x = in_precision(self._convolve, x, self.weight)
        return self.bias_add(x, self.bias) if self.has_bias else x

    def joins_norm(self) -> bool:
        """Whether `norm_relu` and `norm_residual` may stand for this convolution, a batch norm and what follows."""
        return self.winograd is not None and not self.has_bias and not self.training and in_float32()

    def norm_relu(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """relu(scale self(x) + shift), where `joins_norm()`; scale and shift (out_channels,): `affine` of the norm."""
        assert self.winograd is not None
        return self.winograd.norm_relu(x, self.weight, scale, shift)

    def norm_residual(self, x: Tensor, scale: Tensor, shift: Tensor, residual: Tensor) -> Tensor:
        """residual + scale self(x) + shift, likewise."""
        assert self.winograd is not None
        return self.winograd.norm_residual(x, self.weight, scale, shift, residual)

    def _convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        if self.winograd is not None and x.dtype == ms.float32:
            return self.winograd(x, weight)
        return self.conv2d(x, weight)


class _Winograd(nn.Cell):
    """A 3x3 convolution that keeps the size, by Winograd's algorithm.

    Two cores (AMD Zen 3), MindSpore's own and this: 1024 channels of 224x224, 7.6 and 2.0 s; 256 of 120x120, 109 and 45
    ms; 64 of 224x224, 35 and 13 ms; 512 of 17x25, 14 and 12 ms, for the weights are transformed anew each time. The
    error is larger: 7e-7 instead of 2e-7 for 256 channels and more (conv3x3.c). MindSpore's gradients each keep every
    pixel's neighbours as long as their graph lives, 110 MB for 256 channels of 112x112.

    norm_relu, norm_residual: with a batch norm's scale and shift, (out_channels,), and what follows it.
    """

    def __init__(self) -> None:
        super().__init__()
        convolve = native.operator("conv3x3", 2)
        x_grad, weight_grad = (native.gradient(f"conv3x3_{of}_grad", of=1) for of in ("x", "weight"))

        def bprop(x: Tensor, weight: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
            return x_grad(x, weight, dout), weight_grad(weight, x, dout)

        def norm_bprop(x: Tensor, weight: Tensor, scale: Tensor, dout: Tensor) -> tuple[Tensor, ...]:
            of_conv = bprop(x, weight, dout, dout * ops.reshape(scale, (-1, 1, 1)))
            return *of_conv, (convolve(x, weight) * dout).sum((0, 2, 3)), dout.sum((0, 2, 3))

        def norm_relu_bprop(
            x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, out: Tensor, dout: Tensor
        ) -> tuple[Tensor, ...]:
            return norm_bprop(x, weight, scale, dout * (out > 0))

        def norm_residual_bprop(
            x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, residual: Tensor, out: Tensor, dout: Tensor
        ) -> tuple[Tensor, ...]:
            return *norm_bprop(x, weight, scale, dout), dout

        self.forward = native.operator("conv3x3", 2, bprop)
        self.norm_relu = native.operator("conv3x3_norm_relu", 4, norm_relu_bprop)
        self.norm_residual = native.operator("conv3x3_norm_residual", 5, norm_residual_bprop)

    def construct(self, x: Tensor, weight: Tensor) -> Tensor:
        return self.forward(x, weight)


class _NativePointwise(nn.Cell):
    """A 1x1 convolution and its bias, without a pass over the output for the bias: 1024 -> 1024 channels of 56x56, CPU
    time forward and with gradients, 67 and 180 ms, MindSpore's own 75 and 200 ms."""

    def __init__(self) -> None:
        super().__init__()
        x_grad = native.gradient("conv1x1_x_grad", of=1)
        weight_grad = native.gradient("conv1x1_weight_grad", of=1)
        bias_grad = native.gradient("conv1x1_bias_grad", of=1)

        def bprop(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return x_grad(x, weight, dout), weight_grad(weight, x, dout), bias_grad(bias, dout)

        self.forward = native.operator("conv1x1", 3, bprop)

    def construct(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self.forward(x, weight, bias)


class ConvTranspose2d(nn.Conv2dTranspose):
    """Every pixel becomes a patch of kernel x kernel: (N, in_channels, H, W) -> (N, out_channels, kernel H, kernel W).

    On the CPU MindSpore's own is as fast as a matrix product and a pixel shuffle: 28 ms for 256 channels of 30x30 and a
    kernel of 4, 180 ms with gradients.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int):
        super().__init__(
            in_channels,
            out_channels,
            kernel,
            stride=kernel,
            pad_mode="pad",
            padding=0,
            has_bias=True,
            weight_init=fan_in_uniform(),
            bias_init="zeros",
        )

    def construct(self, x: Tensor) -> Tensor:
        return ops.bias_add(in_precision(self._transpose, x, self.weight), self.bias)

    def _transpose(self, x: Tensor, weight: Tensor) -> Tensor:
        n, _, height, width = x.shape
        size = (n, self.out_channels, height * self.stride[0], width * self.stride[1])
        return self.conv2d_transpose(x, weight, size)


class ConvNormReLU(nn.Cell):
    """A convolution without bias, padded to keep the size but for the stride; batch norm; ReLU.

    (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)), for an odd kernel. frozen_norm: the
    norm is a FrozenBatchNorm2d.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, frozen_norm: bool = False
    ):
        super().__init__()
        init = HeNormal(mode="fan_out")
        self.conv = Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False, weight_init=init)
        self.norm = FrozenBatchNorm2d(out_channels) if frozen_norm else BatchNorm2d(out_channels)

    def construct(self, x: Tensor) -> Tensor:
        if self.conv.joins_norm():
            return self.conv.norm_relu(x, *affine(self.norm))
        return ops.relu(self.norm(self.conv(x)))


class DepthwiseConv2d(nn.Cell):
    """A 3x3 depthwise convolution with zero padding: (N, channels, H, W) -> the same."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = Parameter(initializer(fan_out_normal(3, channels, channels), (channels, 1, 3, 3)))
        self.bias = Parameter(initializer("zeros", (channels,)))
        self.conv = _DepthwiseOnCPU(channels) if on_cpu() else _Depthwise(channels)

    def construct(self, x: Tensor) -> Tensor:
        return ops.bias_add(in_precision(self.conv, x, self.weight), self.bias)


class _Depthwise(nn.Cell):
    def __init__(self, channels: int):
        super().__init__()
        self.conv = ops.Conv2D(channels, 3, pad_mode="pad", pad=1, group=channels)

    def construct(self, x: Tensor, weight: Tensor) -> Tensor:
        return self.conv(x, weight)


class _DepthwiseOnCPU(nn.Cell):
    """128 channels of 128x128, forward and backward: MindSpore's own takes 435 ms, the operators in C 5 ms."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = _DepthwiseWithGradient(channels)
        self.float32_conv = _NativeDepthwise() if native.available() else self.conv

    def construct(self, x: Tensor, weight: Tensor) -> Tensor:
        return self.float32_conv(x, weight) if x.dtype == ms.float32 else self.conv(x, weight)


class _DepthwiseWithGradient(_Depthwise):
    """With its gradients written out: the input's is a convolution with the mirrored weight, the weight's the
    correlation of input and gradient, each channel of each sample by itself.

    71 ms for the above. Sums of nine shifted products took 600 ms, for slices of the last axes cost 40 ms each.
    """

    def bprop(self, x: Tensor, weight: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        n, c, h, w = x.shape
        correlate = ops.Conv2D(n * c, (h, w), pad_mode="pad", pad=1, group=n * c)
        sample_grads = correlate(ops.reshape(x, (1, n * c, h, w)), ops.reshape(dout, (n * c, 1, h, w)))
        weight_grad = ops.reshape(ops.reshape(sample_grads, (n, c, 9)).sum(0), weight.shape)
        return self.conv(dout, ops.flip(weight, (2, 3))), weight_grad


class _NativeDepthwise(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        gradient = native.gradient("depthwise_conv_grad", of=2)

        def bprop(x: Tensor, weight: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
            return gradient(x, weight, dout)

        self.forward = native.operator("depthwise_conv", 2, bprop)

    def construct(self, x: Tensor, weight: Tensor) -> Tensor:
        return self.forward(x, weight)


class NativeDepthwiseGELU(nn.Cell):
    """A 3x3 depthwise convolution, its bias and GELU on tokens (N, H, W, C), in one pass. Only in C.

    32x32 tokens of 1280 channels take one core (Zen 4) 1.3 ms, 128x128 of 256 channels 5.7 ms.
    """

    def __init__(self) -> None:
        super().__init__()
        convolve, conv_grad = native.operator("depthwise_conv", 2), native.gradient("depthwise_conv_grad", of=2)
        gelu_grad = native.gradient("gelu_grad", of=1)

        def bprop(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            x, dout = ops.transpose(x, (0, 3, 1, 2)), ops.transpose(dout, (0, 3, 1, 2))
            of_sum = gelu_grad(ops.bias_add(convolve(x, weight), bias), dout)
            of_x, of_weight = conv_grad(x, weight, of_sum)
            return ops.transpose(of_x, (0, 2, 3, 1)), of_weight, of_sum.sum((0, 2, 3))

        self.forward = native.operator("depthwise_conv_gelu", 3, bprop)

    def construct(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self.forward(x, weight, bias)
