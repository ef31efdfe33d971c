"""Bilinear resizing of feature maps."""

from __future__ import annotations

from mindspore import Tensor, ops


def resize(x: Tensor, size: tuple[int, int], align_corners: bool = False) -> Tensor:
    """(N, C, h, w) -> (N, C, *size), bilinear without antialiasing, as torch.nn.functional.interpolate."""
    if x.shape[2:] == size:
        return x
    return ops.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)
