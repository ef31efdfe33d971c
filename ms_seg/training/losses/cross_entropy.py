"""Losses, as the references compute them."""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, nn, ops

from ms_seg.cells.resize import Resize
from ms_seg.presets.recipe import Recipe
from ms_seg.training.losses.dice import DiceLoss
from ms_seg.training.losses.pixel_weights import PixelWeights

IGNORED = 255


class SemanticLoss(nn.Cell):
    """Cross-entropy of a semantic model's logits, resized to the labels (bilinear, align_corners=False), and with the
    recipe's `dice_loss_weight` times the dice loss; each with mmsegmentation's numbers.

    images (N, 3, H, W) float32, labels (N, H, W) int32 with 255 for ignored pixels -> scalar float32. As in
    mmsegmentation, the mean is taken over all pixels: ignored ones add no loss but do count, unless the recipe says
    `avg_non_ignore`. Weights of classes and pixels (see `pixel_weights`) do not change what is divided by.
    """

    def __init__(self, model: nn.Cell, recipe: Recipe | None = None):
        super().__init__(auto_prefix=False)
        recipe = recipe or Recipe()
        self.model = model
        self.resize = Resize()
        self.cross_entropy = _CrossEntropy()
        self.mean = _Mean(recipe.avg_non_ignore)
        weighing = recipe.ce_class_weight or recipe.ohem_min_kept
        self.weights = PixelWeights(recipe) if weighing else None
        self.losses = _Losses()
        self.dice, self.dice_weight = DiceLoss(), recipe.dice_loss_weight
        self.softmax = _Softmax()

    def construct(self, images: Tensor, labels: Tensor) -> Tensor:
        logits, size = self.model(images), labels.shape[1:]
        # An interpolated logit is at most the interpolation of the largest ones.
        bound = self.resize(ops.stop_gradient(logits.max(1, keepdims=True)), size)
        logits, (valid, targets) = self.resize(logits, size), _targets(labels)
        weights = valid
        if self.weights is not None:
            losses = self.losses(ops.stop_gradient(logits), bound, targets)
            weights = ops.stop_gradient(self.weights(losses, targets, valid))
        loss = self.mean(self.cross_entropy(logits, bound, targets, weights), valid)
        if self.dice_weight:
            n, c, h, w = logits.shape
            flat = ops.reshape(targets, (n, 1, h * w)), ops.reshape(valid, (n, 1, h * w))
            loss = loss + self.dice_weight * self.dice(self.softmax(logits, bound), *flat)
        return loss


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
        self.cross_entropy, self.mean = _CrossEntropy(), _Mean(avg_non_ignore=True)

    def construct(self, images: Tensor, labels: Tensor, words: Tensor) -> Tensor:
        logits = self.model(images, words)
        # One word after the other: 28 ms for 150 of 480x480, where a maximum over the second axis takes 128.
        word_logits = ops.split(ops.stop_gradient(logits), 1, 1)
        bound = word_logits[0]
        for other in word_logits[1:]:
            bound = ops.maximum(bound, other)
        valid, targets = _targets(labels)
        return self.mean(self.cross_entropy(logits, bound, targets, valid), valid)


class _CrossEntropy(nn.Cell):
    """The sum of the cross-entropies of logits (N, C, H, W) and targets (N, 1, H, W) int32, times weights
    (N, 1, H, W).

    `bound` (N, 1, H, W) is at least the largest logit of each pixel, and keeps exponentials from overflowing. Weights
    have no gradient.

    MindSpore's reductions over the second axis are slow on the CPU (a maximum over 150 channels of 512x512: 290 ms), so
    the maximum is taken before resizing, the sum is a matrix product, and the gradient is written out: forward and
    backward take 230 ms where ops.cross_entropy takes 2.9 s.
    """

    def __init__(self) -> None:
        super().__init__()
        self.exponentials = _Exponentials()
        self.add_at = ops.TensorScatterElements(axis=1, reduction="add")

    def construct(self, logits: Tensor, bound: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        _, total = self.exponentials(logits, bound)
        target_logits = ops.gather_elements(logits, 1, targets)
        losses = ops.log(ops.reshape(total, bound.shape)) + bound - target_logits
        return (losses * weights).sum()

    def bprop(
        self, logits: Tensor, bound: Tensor, targets: Tensor, weights: Tensor, out: Tensor, dout: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        exponentials, total = self.exponentials(logits, bound)
        weight = weights * dout
        probs = exponentials * (ops.reshape(weight, total.shape) / total)
        gradient = self.add_at(ops.reshape(probs, logits.shape), targets, -weight)
        return gradient, bound, targets, weights  # the last three are never asked for


class _Losses(nn.Cell):
    """The cross-entropy of each pixel, (N, 1, H, W); see `_CrossEntropy`."""

    def __init__(self) -> None:
        super().__init__()
        self.exponentials = _Exponentials()

    def construct(self, logits: Tensor, bound: Tensor, targets: Tensor) -> Tensor:
        _, total = self.exponentials(logits, bound)
        return ops.log(ops.reshape(total, bound.shape)) + bound - ops.gather_elements(logits, 1, targets)


class _Softmax(nn.Cell):
    """Probabilities (N, C, H W) of logits (N, C, H, W); see `_CrossEntropy`."""

    def __init__(self) -> None:
        super().__init__()
        self.exponentials = _Exponentials()

    def construct(self, logits: Tensor, bound: Tensor) -> Tensor:
        exponentials, total = self.exponentials(logits, bound)
        return exponentials / total


class _Exponentials(nn.Cell):
    """Of logits (N, C, H, W), divided by that of their bound: (N, C, H W), and their sum (N, 1, H W)."""

    def __init__(self) -> None:
        super().__init__()
        self.multiply = ops.BatchMatMul()

    def construct(self, logits: Tensor, bound: Tensor) -> tuple[Tensor, Tensor]:
        n, c, h, w = logits.shape
        exponentials = ops.reshape(ops.exp(logits - bound), (n, c, h * w))
        return exponentials, self.multiply(ops.ones((n, 1, c), logits.dtype), exponentials)


class _Mean(nn.Cell):
    """A sum over pixels divided by how many there are, or, with avg_non_ignore, by how many are valid."""

    def __init__(self, avg_non_ignore: bool):
        super().__init__()
        self.avg_non_ignore = avg_non_ignore

    def construct(self, total: Tensor, valid: Tensor) -> Tensor:
        return total / (ops.maximum(valid.sum(), 1.0) if self.avg_non_ignore else valid.size)


def _targets(labels: Tensor) -> tuple[Tensor, Tensor]:
    """1 for each pixel that is not ignored and 0 elsewhere, and its class, 0 elsewhere; both (N, 1, H, W)."""
    valid = ops.expand_dims(labels != IGNORED, 1)
    return valid.astype(ms.float32), ops.expand_dims(labels, 1) * valid.astype(ms.int32)
