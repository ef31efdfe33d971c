"""Activations."""

from __future__ import annotations

import math

from mindspore import Tensor, nn, ops

from ms_seg.cells import native
from ms_seg.cells.device import on_cpu


class GELU(nn.Cell):
    """x * Phi(x) with the exact normal distribution function, not its tanh approximation: arXiv:1606.08415.

    On the CPU MindSpore's own takes 37 ms for 4 M elements and its gradient 80 ms; the operators in C take 2 ms each,
    and a gradient that is written out 60 ms. Elsewhere it is written out too: MindSpore's own takes a power of a tensor
    and a number, whose operator (PowTensorScalar) is documented for Ascend alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gelu = _NativeGELU() if native.available() else _GELU()

    def construct(self, x: Tensor) -> Tensor:
        return self.gelu(x)


def tanh() -> nn.Cell:
    """A cell for the hyperbolic tangent. On the CPU MindSpore's own is off by up to 1e-4, this one by 2e-6."""
    return _TanhBySigmoid() if on_cpu() else nn.Tanh()


class QuickGELU(nn.Cell):
    """x * sigmoid(1.702 x), CLIP's approximation of GELU: arXiv:1606.08415, section 2."""

    def construct(self, x: Tensor) -> Tensor:
        return x * ops.sigmoid(1.702 * x)


class _TanhBySigmoid(nn.Cell):
    def construct(self, x: Tensor) -> Tensor:
        return 2 * ops.sigmoid(2 * x) - 1


class LeakyReLU(nn.Cell):
    """x, or 0.01 x where x is not above 0, and a slope of 0.01 at 0, as PyTorch's: MindSpore's own has half of both."""

    def construct(self, x: Tensor) -> Tensor:
        # A slope that has no gradient: that of a choice between tensors takes an operator documented for Ascend alone.
        return x * ops.stop_gradient(ops.select(x > 0, 1.0, 0.01))


class _GELU(nn.Cell):
    def construct(self, x: Tensor) -> Tensor:
        return ops.gelu(x)

    def bprop(self, x: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor]:
        distribution = ops.select(x == 0, ops.full_like(x, 0.5), out / x)  # erf would take three times as long
        density = ops.exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))
        return (dout * (distribution + x * density),)


class _NativeGELU(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        gradient = native.gradient("gelu_grad", of=1)

        def bprop(x: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor]:
            return (gradient(x, dout),)

        self.forward = native.operator("gelu", 1, bprop)

    def construct(self, x: Tensor) -> Tensor:
        return self.forward(x)
