"""Between feature maps (N, C, H, W), which convolutions want, and tokens (N, L, C), which attention wants."""

from __future__ import annotations

from mindspore import Tensor, ops


def map_to_tokens(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H*W, C), row by row."""
    n, c, h, w = x.shape
    return ops.transpose(ops.reshape(x, (n, c, h * w)), (0, 2, 1))


def tokens_to_map(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, H*W, C) -> (N, C, H, W)."""
    n, _, c = x.shape
    return ops.reshape(ops.transpose(x, (0, 2, 1)), (n, c, size[0], size[1]))
