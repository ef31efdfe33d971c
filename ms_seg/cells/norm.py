"""Normalisation layers, with PyTorch's meaning of epsilon and momentum."""

from __future__ import annotations

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Constant, initializer

from ms_seg.cells import native


class LayerNorm(nn.LayerNorm):
    """Over the last axis of (..., channels). `epsilon` differs between references, so it has no default."""

    def __init__(self, channels: int, epsilon: float):
        super().__init__((channels,), epsilon=epsilon)
        self.native = _NativeLayerNorm(epsilon) if native.available() else None

    def construct(self, x: Tensor) -> Tensor:
        if self.native is not None:
            return self.native(x, self.gamma, self.beta)
        return super().construct(x)


class _NativeLayerNorm(nn.Cell):
    """On the CPU, 16384 x 64, forward and backward: 1.5 ms instead of 25 ms with MindSpore's own."""

    def __init__(self, epsilon: float):
        super().__init__()
        self.epsilon = Tensor(epsilon, ms.float32)
        gradient = native.gradient("layer_norm_grad", of=3)

        def bprop(
            x: Tensor, gamma: Tensor, beta: Tensor, epsilon: Tensor, out: Tensor, dout: Tensor
        ) -> tuple[Tensor, ...]:
            return *gradient(x, gamma, beta, epsilon, dout), ops.zeros_like(epsilon)

        self.forward = native.operator("layer_norm", 4, bprop)

    def construct(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        return self.forward(x, gamma, beta, self.epsilon)


class GroupNorm(nn.GroupNorm):
    """Over the channels of each group and all positions of (N, channels, H, W): arXiv:1803.08494. Epsilon 1e-5."""

    def __init__(self, groups: int, channels: int):
        super().__init__(groups, channels, eps=1e-5)
        self.native = _NativeGroupNorm(groups) if native.available() else None

    def construct(self, x: Tensor) -> Tensor:
        if self.native is not None:
            return self.native(x, self.gamma, self.beta)
        return super().construct(x)


class _NativeGroupNorm(nn.Cell):
    """256 channels of 200x272, forward and with gradients, CPU time: 7 and 169 ms, MindSpore's own 135 and 410 ms."""

    def __init__(self, groups: int):
        super().__init__()
        self.groups, self.epsilon = Tensor(groups, ms.int32), Tensor(1e-5, ms.float32)
        gradient = native.gradient("group_norm_grad", of=3)

        def bprop(
            x: Tensor, gamma: Tensor, beta: Tensor, groups: Tensor, epsilon: Tensor, out: Tensor, dout: Tensor
        ) -> tuple[Tensor, ...]:
            gradients = gradient(x, gamma, beta, groups, epsilon, dout)
            return *gradients, ops.zeros_like(groups), ops.zeros_like(epsilon)

        self.forward = native.operator("group_norm", 5, bprop)

    def construct(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        return self.forward(x, gamma, beta, self.groups, self.epsilon)


class SquaredNorm(nn.Cell):
    """Sums of squares over the channels: (N, channels, H, W) -> (N, 1, H, W), float32."""

    def __init__(self) -> None:
        super().__init__()
        self.squares = _NativeSquaredNorm() if native.available() else _SquaredNorm()

    def construct(self, x: Tensor) -> Tensor:
        return self.squares(x)


class _SquaredNorm(nn.Cell):
    """Sums over the second axis are fast as matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.multiply = ops.BatchMatMul()

    def construct(self, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        squares = ops.reshape(x * x, (n, channels, height * width))
        return ops.reshape(self.multiply(ops.ones((n, 1, channels), x.dtype), squares), (n, 1, height, width))


class _NativeSquaredNorm(nn.Cell):
    """512 channels of 240x240 on two cores (AMD Zen 3): 6 ms, MindSpore's operators 12."""

    def __init__(self) -> None:
        super().__init__()
        gradient = native.gradient("squared_norm_grad", of=1)

        def bprop(x: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor]:
            return (gradient(x, dout),)

        self.forward = native.operator("squared_norm", 1, bprop)

    def construct(self, x: Tensor) -> Tensor:
        return self.forward(x)


class LayerScale(nn.Cell):
    """A residual connection whose branch is scaled, channel by channel: x + gamma * branch, each (N, L, channels).

    arXiv:2103.17239, section 3; `init` is gamma before training.
    """

    def __init__(self, channels: int, init: float):
        super().__init__()
        self.gamma = Parameter(initializer(Constant(init), (channels,)))
        self.scale = _NativeLayerScale() if native.available() else _LayerScale()

    def construct(self, x: Tensor, branch: Tensor) -> Tensor:
        return self.scale(x, branch, self.gamma)


class _LayerScale(nn.Cell):
    def construct(self, x: Tensor, branch: Tensor, gamma: Tensor) -> Tensor:
        return x + gamma * branch


class _NativeLayerScale(nn.Cell):
    """In one pass. The product of two shapes leaves 16 bytes for each of its elements behind on the CPU for as long as
    its graph lives: 2.5 GB in the 24 blocks of BEiT-L at 896x896."""

    def __init__(self) -> None:
        super().__init__()
        gradient = native.gradient("layer_scale_grad", of=2)

        def bprop(x: Tensor, branch: Tensor, gamma: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return dout, *gradient(branch, gamma, dout)

        self.forward = native.operator("layer_scale", 3, bprop)

    def construct(self, x: Tensor, branch: Tensor, gamma: Tensor) -> Tensor:
        return self.forward(x, branch, gamma)


class BatchNorm2d(nn.BatchNorm2d):
    """(N, channels, H, W), epsilon 1e-5; running statistics keep 0.9 of their value: PyTorch's momentum 0.1.

    After `synchronise` a training batch's statistics are taken over all processes; MindSpore's own SyncBatchNorm has no
    kernel on the CPU.
    """

    def __init__(self, channels: int):
        super().__init__(channels, eps=1e-5, momentum=0.9)
        self.processes = 1

    def construct(self, x: Tensor) -> Tensor:
        if self.processes == 1 or not self.training:
            return super().construct(x)
        count = self.processes * x.size // x.shape[1]
        mean = self.all_reduce(x.sum((0, 2, 3), keepdims=True)) / count  # (1, channels, 1, 1)
        variance = self.all_reduce(ops.square(x - mean).sum((0, 2, 3), keepdims=True)) / count
        self._update_running_statistics(
            ops.stop_gradient(mean.ravel()), ops.stop_gradient(variance.ravel()) * count / (count - 1)
        )
        scale = self.gamma.reshape(1, -1, 1, 1) * ops.rsqrt(variance + self.eps)
        return (x - mean) * scale + self.beta.reshape(1, -1, 1, 1)

    def _update_running_statistics(self, mean: Tensor, variance: Tensor) -> None:
        ops.assign(self.moving_mean, self.moving_mean * 0.9 + mean * 0.1)
        ops.assign(self.moving_variance, self.moving_variance * 0.9 + variance * 0.1)


def affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a batch norm is in inference, scale * x + bias: both (channels,)."""
    scale = norm.gamma * ops.rsqrt(norm.moving_variance + norm.eps)
    return scale, norm.beta - norm.moving_mean * scale


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """(N, channels, H, W), epsilon 1e-5, with its running statistics in training too; no parameter is trained."""

    def __init__(self, channels: int):
        super().__init__(channels, eps=1e-5, use_batch_statistics=False)
        self.gamma.requires_grad = self.beta.requires_grad = False


def running_statistics(model: nn.Cell) -> list[Parameter]:
    """The parameters that a model's BatchNorm2d update in a training pass, without gradients."""
    norms = [cell for _, cell in model.cells_and_names() if isinstance(cell, BatchNorm2d)]
    return [statistic for norm in norms for statistic in (norm.moving_mean, norm.moving_variance)]


def synchronise(model: nn.Cell, processes: int) -> None:
    """Let every BatchNorm2d of a model take its training statistics over all processes (SyncBatchNorm)."""
    for _, cell in model.cells_and_names():
        if isinstance(cell, BatchNorm2d) and processes > 1:
            cell.processes, cell.all_reduce = processes, ops.AllReduce()
