"""What each pixel counts in a cross-entropy: by its class, and by how hard it is (mmsegmentation's class_weight and
OHEMPixelSampler)."""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, nn, ops

from ms_seg.presets.recipe import Recipe


class PixelWeights(nn.Cell):
    """Losses, classes (`targets`, int32) and validity of pixels -> the weight of each; all (N, 1, H, W) float32 but the
    classes, which are 0 where `valid` is 0. No gradient is to go through it.

    Ignored pixels weigh nothing; the others what the recipe's `ce_class_weight` gives their class, if it does. With
    `ohem_min_kept` the hard ones alone count, which are the `ohem_min_kept` with the largest losses, times N, over the
    batch. With `ohem_thresh` they are those whose class has a probability below it; or, if these are fewer, as many as
    before.
    """

    def __init__(self, recipe: Recipe):
        super().__init__(auto_prefix=False)
        self.class_weight = Tensor(recipe.ce_class_weight, ms.float32) if recipe.ce_class_weight else None
        self.min_kept, self.thresh = recipe.ohem_min_kept, recipe.ohem_thresh

    def construct(self, losses: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
        weights = valid
        if self.class_weight is not None:
            weights = weights * ops.gather(self.class_weight, targets, 0)
        if not self.min_kept:
            return weights
        if self.thresh:
            return weights * self._unlikely(ops.exp(-losses), valid)
        return weights * self._hardest(losses * weights, valid)

    def _unlikely(self, probs: Tensor, valid: Tensor) -> Tensor:
        """1 for each pixel below the threshold, which is the larger of `thresh` and the probability that comes after
        the kept ones."""
        flat = ops.select(valid.ravel() > 0, probs.ravel(), ops.full_like(probs.ravel(), 2.0))  # behind all others
        ordered = ops.sort(flat)[0]
        place = ops.minimum(valid.sum() - 1, float(self.min_kept * valid.shape[0]))
        lowest = ops.gather(ordered, ops.maximum(place, 0.0).astype(ms.int32), 0)
        return (probs < ops.maximum(lowest, self.thresh)).astype(ms.float32)

    def _hardest(self, losses: Tensor, valid: Tensor) -> Tensor:
        """1 for each of the pixels with the largest losses."""
        kept = min(self.min_kept * valid.shape[0], valid.size)
        flat = ops.select(valid.ravel() > 0, losses.ravel(), ops.full_like(losses.ravel(), -1.0))
        order = ops.sort(flat, descending=True)[1][:kept]
        chosen = ops.tensor_scatter_elements(ops.zeros_like(flat), order, ops.ones_like(flat[:kept]))
        return ops.reshape(chosen, valid.shape)
