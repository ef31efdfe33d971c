"""Normalisation, with PyTorch's meaning of epsilon and momentum."""

from __future__ import annotations

from mindspore import nn


class LayerNorm(nn.LayerNorm):
    """Over the last axis of (..., channels). `epsilon` differs between references, so it is never left to a default."""

    def __init__(self, channels: int, epsilon: float):
        super().__init__((channels,), epsilon=epsilon)


class BatchNorm2d(nn.BatchNorm2d):
    """(N, channels, H, W), epsilon 1e-5; running statistics keep 0.9 of their value: PyTorch's momentum 0.1."""

    def __init__(self, channels: int):
        super().__init__(channels, eps=1e-5, momentum=0.9)
