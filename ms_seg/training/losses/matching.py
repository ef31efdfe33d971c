"""Which query is to learn which target: the pairs that cost least together, as in mmdetection's MaskHungarianAssigner.

The Hungarian method, for masks as in arXiv:2112.01527, section 3.3.
"""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn, ops
from scipy.optimize import linear_sum_assignment

from ms_seg.cells.points import SamplePoints
from ms_seg.cells.position import arange
from ms_seg.presets.recipe import Recipe

NONE = -1
_HUGE = 1e9


class MatchingCosts(nn.Cell):
    """What it would cost that a query learned a target, for all of them: (N, Q, M) float32.

    class_logits (N, Q, C + 1), mask_logits (N, Q, h, w), labels (N, M) int32, masks (N, M, H, W) uint8 of 0 and 1, and
    points (N, P, 2) at which masks are compared. Targets of label -1 are none, and cost what is no matter.
    """

    def __init__(self, recipe: Recipe):
        super().__init__()
        self.class_weight, self.mask_weight = recipe.class_weight, recipe.mask_weight
        self.dice_weight = recipe.dice_weight
        self.sample = SamplePoints()
        self.multiply, self.softplus = ops.BatchMatMul(transpose_b=True), ops.Softplus()

    def construct(
        self, class_logits: Tensor, mask_logits: Tensor, labels: Tensor, masks: Tensor, points: Tensor
    ) -> Tensor:
        n, queries, height, width = mask_logits.shape
        places, targets = points.shape[1], labels.shape[1]
        logits = self.sample(mask_logits.reshape(-1, height, width), arange(n * queries), points)
        logits = ops.reshape(logits, (n, queries, places))
        truth = self.sample(masks.reshape(-1, *masks.shape[2:]), _meant(labels), points).reshape(n, targets, places)

        indices = ops.broadcast_to(ops.expand_dims(ops.maximum(labels, 0), 1), (n, queries, targets))
        of_classes = -ops.gather_elements(ops.softmax(class_logits, -1), 2, indices)
        # The cross-entropy of a logit x and t, 0 to 1, is log(1 + exp(x)) - t x.
        of_masks = (self.softplus(logits).sum(-1, keepdims=True) - self.multiply(logits, truth)) / places
        shares = ops.sigmoid(logits)
        areas = shares.sum(-1, keepdims=True) + ops.expand_dims(truth.sum(-1), 1)
        of_overlaps = 1 - (2 * self.multiply(shares, truth) + 1) / (areas + 1)
        return self.class_weight * of_classes + self.mask_weight * of_masks + self.dice_weight * of_overlaps


def match(costs: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cheapest pairs of each sample: costs (N, Q, M), of which the first counts[i] targets are the i-th sample's ->
    queries and targets (N, M) int32.

    Each sample has min(Q, counts[i]) pairs, in the order of their queries, and then -1. Costs that are no numbers, of a
    network that overflows, are taken for large ones: its loss will tell.
    """
    queries, targets = (np.full((len(costs), costs.shape[2]), NONE, np.int32) for _ in range(2))
    costs = np.nan_to_num(costs, nan=_HUGE, posinf=_HUGE, neginf=-_HUGE)
    for i, number in enumerate(counts):
        rows, columns = linear_sum_assignment(costs[i, :, :number])
        queries[i, : len(rows)], targets[i, : len(rows)] = rows, columns
    return queries, targets


def _meant(labels: Tensor) -> Tensor:
    """The number of each target, or -1."""
    labels = labels.ravel()
    return ops.select(labels >= 0, arange(labels.shape[0]), NONE)
