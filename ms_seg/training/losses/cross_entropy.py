"""Losses, as the references compute them."""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, nn, ops

from ms_seg.cells.cross_entropy import CrossEntropy, Softmax
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
        self.cross_entropy = CrossEntropy()
        self.mean = _Mean(recipe.avg_non_ignore)
        weighing = recipe.ce_class_weight or recipe.ohem_min_kept
        self.weights = PixelWeights(recipe) if weighing else None
        self.dice, self.dice_weight = DiceLoss(), recipe.dice_loss_weight
        self.softmax = Softmax()

    def construct(self, images: Tensor, labels: Tensor) -> Tensor:
        logits, (valid, targets) = self.model(images), _targets(labels)
        losses = self.cross_entropy(logits, targets)
        weights = valid
        if self.weights is not None:
            weights = ops.stop_gradient(self.weights(ops.stop_gradient(losses), targets, valid))
        loss = self.mean(losses * weights, valid)
        if self.dice_weight:
            n, h, w = labels.shape
            flat = ops.reshape(targets, (n, 1, h * w)), ops.reshape(valid, (n, 1, h * w))
            loss = loss + self.dice_weight * self.dice(self.softmax(self.resize(logits, (h, w))), *flat)
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
        self.cross_entropy, self.mean = CrossEntropy(), _Mean(avg_non_ignore=True)

    def construct(self, images: Tensor, labels: Tensor, words: Tensor) -> Tensor:
        valid, targets = _targets(labels)
        return self.mean(self.cross_entropy(self.model(images, words), targets) * valid, valid)


class _Mean(nn.Cell):
    """Pixels' losses, summed up and divided by how many pixels there are, or, with avg_non_ignore, are valid."""

    def __init__(self, avg_non_ignore: bool):
        super().__init__()
        self.avg_non_ignore = avg_non_ignore

    def construct(self, losses: Tensor, valid: Tensor) -> Tensor:
        return losses.sum() / (ops.maximum(valid.sum(), 1.0) if self.avg_non_ignore else valid.size)


def _targets(labels: Tensor) -> tuple[Tensor, Tensor]:
    """1 for each pixel that is not ignored and 0 elsewhere, and its class, 0 elsewhere; both (N, 1, H, W)."""
    valid = ops.expand_dims(labels != IGNORED, 1)
    return valid.astype(ms.float32), ops.expand_dims(labels, 1) * valid.astype(ms.int32)
