"""Which query is to learn which target: the cheapest pairs together, as in mmdetection's MaskHungarianAssigner.

Bipartite matching by the Hungarian method, for masks as in arXiv:2112.01527, section 3.3.
"""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn, ops
from scipy.optimize import linear_sum_assignment

from ms_seg.cells.points import SamplePoints
from ms_seg.cells.position import arange
from ms_seg.presets.recipe import Recipe

PADDING = -1  # the class of a target, or the index in a pair, where there is none
_MAX_COST = 1e9


class MatchingCosts(nn.Cell):
    """The cost of assigning each target to each query: (N, Q, M) float32.

    class_logits (N, Q, C + 1), mask_logits (N, Q, h, w), labels (N, M) int32, masks (N, M, H, W) uint8 of 0 and 1, and
    points (N, P, 2) at which masks are compared. Targets with the label PADDING are none; their costs mean nothing.
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
        num_points, targets = points.shape[1], labels.shape[1]
        logits = self.sample(mask_logits.reshape(-1, height, width), arange(n * queries), points)
        logits = ops.reshape(logits, (n, queries, num_points))
        truth = self.sample(masks.reshape(-1, *masks.shape[2:]), _target_indices(labels), points)
        truth = truth.reshape(n, targets, num_points)

        classes = ops.broadcast_to(ops.expand_dims(ops.maximum(labels, 0), 1), (n, queries, targets))
        class_cost = -ops.gather_elements(ops.softmax(class_logits, -1), 2, classes)
        # The binary cross-entropy of a logit x and a target t, 0 to 1, is log(1 + exp(x)) - t x.
        mask_cost = (self.softplus(logits).sum(-1, keepdims=True) - self.multiply(logits, truth)) / num_points
        probs = ops.sigmoid(logits)
        areas = probs.sum(-1, keepdims=True) + ops.expand_dims(truth.sum(-1), 1)
        dice_cost = 1 - (2 * self.multiply(probs, truth) + 1) / (areas + 1)
        return self.class_weight * class_cost + self.mask_weight * mask_cost + self.dice_weight * dice_cost


def match(costs: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cheapest pairs of each sample: costs (N, Q, M), of which sample i has the first counts[i] targets ->
    queries and targets (N, M) int32.

    A sample has min(Q, counts[i]) pairs, in the order of their queries, then PADDING. NaN and infinite costs, of a
    network that overflows, count as large ones: its loss will tell.
    """
    queries, targets = (np.full((len(costs), costs.shape[2]), PADDING, np.int32) for _ in range(2))
    costs = np.nan_to_num(costs, nan=_MAX_COST, posinf=_MAX_COST, neginf=-_MAX_COST)
    for i, number in enumerate(counts):
        rows, columns = linear_sum_assignment(costs[i, :, :number])
        queries[i, : len(rows)], targets[i, : len(rows)] = rows, columns
    return queries, targets


def _target_indices(labels: Tensor) -> Tensor:
    """The index of each target in the whole batch, PADDING where there is none: (N M,)."""
    labels = labels.ravel()
    return ops.select(labels >= 0, arange(labels.shape[0]), PADDING)
