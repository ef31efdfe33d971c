"""Normalisation, with PyTorch's meaning of epsilon and momentum."""

from __future__ import annotations

from mindspore import Tensor, nn, ops


class LayerNorm(nn.LayerNorm):
    """Over the last axis of (..., channels). `epsilon` differs between references, so it is never left to a default."""

    def __init__(self, channels: int, epsilon: float):
        super().__init__((channels,), epsilon=epsilon)


class BatchNorm2d(nn.BatchNorm2d):
    """(N, channels, H, W), epsilon 1e-5; running statistics keep 0.9 of their value: PyTorch's momentum 0.1.

    After `synchronise` the statistics of a training batch are those of all processes together; MindSpore's own
    SyncBatchNorm has no kernel on the CPU.
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
        self._remember(ops.stop_gradient(mean.ravel()), ops.stop_gradient(variance.ravel()) * count / (count - 1))
        scale = self.gamma.reshape(1, -1, 1, 1) * ops.rsqrt(variance + self.eps)
        return (x - mean) * scale + self.beta.reshape(1, -1, 1, 1)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        ops.assign(self.moving_mean, self.moving_mean * 0.9 + mean * 0.1)
        ops.assign(self.moving_variance, self.moving_variance * 0.9 + variance * 0.1)


def synchronise(model: nn.Cell, processes: int) -> None:
    """Let every BatchNorm2d of a model see the training batches of all processes."""
    for _, cell in model.cells_and_names():
        if isinstance(cell, BatchNorm2d) and processes > 1:
            cell.processes, cell.all_reduce = processes, ops.AllReduce()
