"""Losses, as the references compute them."""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, nn, ops

from ms_seg.cells.resize import Resize

IGNORED = 255


class SemanticLoss(nn.Cell):
    """Cross-entropy of a semantic model's logits, resized to the labels (bilinear, align_corners=False).

    images (N, 3, H, W) float32, labels (N, H, W) int32 with 255 for ignored pixels -> scalar float32. As in
    mmsegmentation, the mean is taken over all pixels: ignored ones add no loss but do count.
    """

    def __init__(self, model: nn.Cell):
        super().__init__(auto_prefix=False)
        self.model = model
        self.resize = Resize()
        self.cross_entropy = _CrossEntropy(avg_non_ignore=False)

    def construct(self, images: Tensor, labels: Tensor) -> Tensor:
        logits, size = self.model(images), labels.shape[1:]
        # An interpolated logit is at most the interpolation of the largest ones.
        bound = self.resize(ops.stop_gradient(logits.max(1, keepdims=True)), size)
        return self.cross_entropy(self.resize(logits, size), bound, labels)


class WordLoss(nn.Cell):
    """Cross-entropy of a model that is told in words what the labels of a batch mean, as lang-seg trains LSeg.

    images (N, 3, H, W) float32, labels (N, H, W) int32 with 255 for ignored pixels, words of the K labels, whatever
    `model(images, words)` takes -> scalar float32. The model's logits are (N, K, H, W).

    As in torch.nn.CrossEntropyLoss(ignore_index=255), the mean is taken over the pixels that are not ignored. Where all
    are, PyTorch gives NaN, which spoils every weight: here such a batch has loss 0 and no gradient. (A picture of
    ADE20K may be all "other" where it is cropped, and lang-seg's batches are of one.)
    """

    def __init__(self, model: nn.Cell):
        super().__init__(auto_prefix=False)
        self.model = model
        self.cross_entropy = _CrossEntropy(avg_non_ignore=True)

    def construct(self, images: Tensor, labels: Tensor, words: Tensor) -> Tensor:
        logits = self.model(images, words)
        # One word after the other: 28 ms for 150 of 480x480, where a maximum over the second axis takes 128.
        word_logits = ops.split(ops.stop_gradient(logits), 1, 1)
        bound = word_logits[0]
        for other in word_logits[1:]:
            bound = ops.maximum(bound, other)
        return self.cross_entropy(logits, bound, labels)


class _CrossEntropy(nn.Cell):
    """Mean of the cross-entropy of logits (N, C, H, W) and labels (N, H, W), over all pixels or, with avg_non_ignore,
    over those that are not ignored.

    `bound` (N, 1, H, W) is at least the largest logit of each pixel, and keeps exponentials from overflowing.

    MindSpore's reductions over the second axis are slow on the CPU (a maximum over 150 channels of 512x512: 290 ms), so
    the maximum is taken before resizing, the sum is a matrix product, and the gradient is written out: forward and
    backward take 230 ms where ops.cross_entropy takes 2.9 s.
    """

    def __init__(self, avg_non_ignore: bool):
        super().__init__()
        self.avg_non_ignore = avg_non_ignore
        self.multiply = ops.BatchMatMul()
        self.add_at = ops.TensorScatterElements(axis=1, reduction="add")

    def construct(self, logits: Tensor, bound: Tensor, labels: Tensor) -> Tensor:
        _, total = self._exponentials(logits, bound)
        valid, targets = self._targets(labels)
        target_logits = ops.gather_elements(logits, 1, targets)
        losses = ops.log(ops.reshape(total, bound.shape)) + bound - target_logits
        return (losses * valid).sum() / self._avg_factor(valid)

    def bprop(
        self, logits: Tensor, bound: Tensor, labels: Tensor, out: Tensor, dout: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        exponentials, total = self._exponentials(logits, bound)
        valid, targets = self._targets(labels)
        weight = valid * (dout / self._avg_factor(valid))
        probs = exponentials * (ops.reshape(weight, total.shape) / total)
        gradient = self.add_at(ops.reshape(probs, logits.shape), targets, -weight)
        return gradient, bound, labels  # the last two are never asked for

    def _avg_factor(self, valid: Tensor) -> Tensor | int:
        """What the sum of the losses is divided by."""
        return ops.maximum(valid.sum(), 1.0) if self.avg_non_ignore else valid.size

    def _exponentials(self, logits: Tensor, bound: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H W), and their sum (N, 1, H W)."""
        n, c, h, w = logits.shape
        exponentials = ops.reshape(ops.exp(logits - bound), (n, c, h * w))
        return exponentials, self.multiply(ops.ones((n, 1, c), logits.dtype), exponentials)

    def _targets(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """1 for each pixel that is not ignored and 0 elsewhere, and its class, 0 elsewhere; both (N, 1, H, W)."""
        valid = ops.expand_dims(labels != IGNORED, 1)
        return valid.astype(ms.float32), ops.expand_dims(labels, 1) * valid.astype(ms.int32)
