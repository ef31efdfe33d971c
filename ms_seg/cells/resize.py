"""Bilinear resizing of feature maps."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.ops.primitive import constexpr

from ms_seg.cells import native
from ms_seg.cells.device import on_cpu


class Resize(nn.Cell):
    """(N, C, h, w) -> (N, C, *size), bilinear without antialiasing, as torch.nn.functional.interpolate."""

    def __init__(self, align_corners: bool = False):
        super().__init__()
        self.align_corners = align_corners
        self.interpolate = _InterpolateWithGradient(align_corners) if on_cpu() else _Interpolate(align_corners)
        self.native = _NativeResize(align_corners) if native.available() else None

    def construct(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        if x.shape[2:] == size:
            return x
        if self.native is not None and x.dtype == ms.float32:
            return self.native(x, size)
        return self.interpolate(x, size[0], size[1])


class _NativeResize(nn.Cell):
    """In C. From (2, 150, 128, 128) to 512x512, forward and backward on two cores: 38 ms, where MindSpore's own and two
    matrix products take 207 (AMD Zen 5)."""

    def __init__(self, align_corners: bool):
        super().__init__()
        name = "resize_corners" if align_corners else "resize"
        gradient = native.gradient(f"{name}_grad", of=1)

        def bprop(x: Tensor, like: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
            return gradient(x, like, dout), ops.zeros_like(like)

        self.resize = native.operator(name, 2, bprop)

    def construct(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        return self.resize(x, ops.zeros(size, ms.float32))


class _Interpolate(nn.Cell):
    """The operator behind ops.interpolate, whose checks do not compile where the rank is known only at run time."""

    def __init__(self, align_corners: bool):
        super().__init__()
        self.align_corners = align_corners
        self.resize = ops.ResizeBilinearV2(align_corners, half_pixel_centers=not align_corners)

    def construct(self, x: Tensor, height: int, width: int) -> Tensor:
        return self.resize(x, (height, width))


class _InterpolateWithGradient(_Interpolate):
    """Interpolation is linear in rows and in columns, so that its gradient is two matrix products.

    On the CPU they take 250 ms where MindSpore's own gradient takes 430 ms, from (150, 512, 512) to (150, 128, 128).
    """

    def bprop(self, x: Tensor, height: int, width: int, out: Tensor, dout: Tensor) -> tuple[Tensor, int, int]:
        """Height and width are two arguments: where PyNative differentiates a graph, a tuple is not allowed here."""
        return _resize_grad(dout, x.shape, self.align_corners), height, width


class NativeResizedSum(nn.Cell):
    """ReLU(scale * sum of four maps + bias), each map resized as by `Resize` to the size of the first. Only in C.

    Maps of tokens (N, h, w, C), scale and bias (C) -> (N, H, W, C).
    """

    def __init__(self) -> None:
        super().__init__()

        def bprop(
            a: Tensor, b: Tensor, c: Tensor, d: Tensor, scale: Tensor, bias: Tensor, out: Tensor, dout: Tensor
        ) -> tuple[Tensor, ...]:
            of_sum = ops.transpose(dout * (out > 0), (0, 3, 1, 2))  # (N, C, H, W)
            of_maps: tuple[Tensor, ...] = ()
            of_scale = ops.zeros_like(scale)
            for x in (a, b, c, d):
                n, height, width, channels = x.shape
                of_map = ops.transpose(_resize_grad(of_sum, (n, channels, height, width), False), (0, 2, 3, 1))
                of_maps += (of_map * scale,)
                of_scale = of_scale + (of_map * x).sum((0, 1, 2))
            return *of_maps, of_scale, of_sum.sum((0, 2, 3))

        self.forward = native.operator("resized_sum_relu", 6, bprop)

    def construct(self, maps: tuple[Tensor, Tensor, Tensor, Tensor], scale: Tensor, bias: Tensor) -> Tensor:
        return self.forward(*maps, scale, bias)


def _resize_grad(dout: Tensor, shape: tuple[int, ...], align_corners: bool) -> Tensor:
    """The gradient of a map of this shape (N, C, h, w), of that of the resized one, (N, C, H, W)."""
    n, c, from_height, from_width = shape
    height, width = dout.shape[2:]
    rows = _weights(from_height, height, align_corners).astype(dout.dtype)
    columns = _weights(from_width, width, align_corners).astype(dout.dtype)
    by_columns = ops.matmul(ops.reshape(dout, (n * c * height, width)), columns)
    by_rows = ops.matmul(ops.transpose(rows, (1, 0)), ops.reshape(by_columns, (n * c, height, from_width)))
    return ops.reshape(by_rows, shape)


@constexpr
def _weights(source: int, target: int, align_corners: bool) -> Tensor:
    """(target, source): the weight of each source position in each target position."""
    if align_corners:
        positions = np.arange(target) * ((source - 1) / max(target - 1, 1))
    else:
        positions = np.maximum((np.arange(target) + 0.5) * source / target - 0.5, 0)
    lower = np.minimum(positions.astype(int), source - 1)
    upper = np.minimum(lower + 1, source - 1)
    weights = np.zeros((target, source))
    np.add.at(weights, (np.arange(target), lower), 1 - (positions - lower))
    np.add.at(weights, (np.arange(target), upper), positions - lower)
    return Tensor(weights.astype(np.float32))
