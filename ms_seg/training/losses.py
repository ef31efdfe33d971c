"""Losses, as the references compute them."""

from __future__ import annotations

from mindspore import Tensor, nn, ops

from ms_seg.cells.resize import resize

IGNORED = 255


class SemanticLoss(nn.Cell):
    """Cross-entropy of a semantic model's logits, resized to the labels (bilinear, align_corners=False).

    images (N, 3, H, W) float32, labels (N, H, W) int32 with 255 for pixels that count for nothing -> scalar float32.
    As mmsegmentation's, the mean runs over all pixels: ignored ones add no loss but do count.
    """

    def __init__(self, model: nn.Cell):
        super().__init__(auto_prefix=False)
        self.model = model

    def construct(self, images: Tensor, labels: Tensor) -> Tensor:
        logits = resize(self.model(images), labels.shape[1:])
        return ops.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum") / labels.size
