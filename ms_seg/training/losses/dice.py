"""Dice loss of label maps, as mmsegmentation computes it (DiceLoss, arXiv:1606.04797)."""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, nn, ops

_SMOOTH = 1.0


class DiceLoss(nn.Cell):
    """Probabilities (N, C, H W), the classes (N, 1, H W) int32 of pixels, and which of them are `valid` -> the mean
    over pictures and classes of 1 - (2 intersection + 1) / (squared probabilities + pixels + 1), scalar float32.

    As in the original, ignored pixels are in no intersection, but their squared probabilities count, and they count as
    pixels of the last class.
    """

    def construct(self, probs: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
        n, c, _ = probs.shape
        rows = ops.reshape(ops.arange(n) * c, (n, 1, 1))
        of_target = ops.gather_elements(probs, 1, targets) * valid
        places = (targets + rows).astype(ms.int32)
        shared = ops.unsorted_segment_sum(of_target.ravel(), places.ravel(), n * c)
        counted = ops.select(valid > 0, targets, ops.full_like(targets, c - 1)) + rows.astype(ms.int32)
        pixels = ops.unsorted_segment_sum(ops.ones_like(valid).ravel(), counted.ravel(), n * c)
        squares = ops.square(probs).sum(-1).ravel()
        return (1 - (2 * shared + _SMOOTH) / (squares + ops.stop_gradient(pixels) + _SMOOTH)).mean()
