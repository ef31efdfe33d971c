"""The loss of models that answer with queries, each a class and a mask: Mask2Former's, as mmdetection computes it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from ms_seg.cells.points import SamplePoints, UncertainPoints
from ms_seg.distributed import World
from ms_seg.presets.recipe import Recipe
from ms_seg.training.losses.matching import NONE, MatchingCosts, match
from ms_seg.training.losses.points import PointDraws
from ms_seg.training.step import Batch, Shared

_EPSILON = 2.0**-23  # what mmdetection adds to what it divides by


class MaskLoss(nn.Cell):
    """The sum of the losses of all predictions, from that before the first layer of the query decoder to the last.

    In each, queries are matched with targets (see `matching`). A matched query learns its target's class and mask, the
    others that they are no object: cross-entropy of classes, a weighted mean over this part of the batch; binary
    cross-entropy and dice loss of masks at points, most of which lie where the mask is least certain.

    The matching is SciPy's, on the host. So this cell is no graph but is made of graphs, which PyNative differentiates:
    each keeps what its gradients need, and nothing is computed twice. A step of `mask2former_r50_coco_panoptic` on one
    picture of 384x384, on two cores that others used too, takes 8.6 s and 5.4 GB; with a graph for the matching and,
    after it, one for forward pass and gradients, 11.7 s and 4.1 GB. SciPy takes 4 ms, the costs it is given 0.4 s.
    """

    def __init__(self, model: nn.Cell, recipe: Recipe):
        """model: a Mask2Former, trained by `recipe`."""
        super().__init__(auto_prefix=False)
        self.model, self.parts = model, recipe.accumulate
        self.queries = model.query_decoder.query_feat.shape[0]
        self.draws = PointDraws(recipe)
        self.predict = ms.jit(_Predictions(model).construct)
        self.costs = ms.jit(MatchingCosts(recipe).construct)
        self.choose = ms.jit(_Choice(self.draws.uncertain).construct)
        self.learn = ms.jit(_PredictionLoss(recipe).construct)

    def prepare(self, batch: Batch, positions: range, world: World) -> Batch:
        """This process's share of a step -> what `construct` takes.

        batch: images (n, 3, s, s) float32, labels (n, M) int32, of each sample its targets' classes and then -1, and
            masks (n, M, s, s) uint8 of 0 and 1.
        positions: of the samples in the run.

        Targets beyond the largest number of a sample are cut off, to a power of two: few sizes, few graphs. Masks'
        losses are divided by the mean number of matched targets, at least 1, of the parts of the whole step: those that
        gradients are accumulated over, as well as those of other processes, for which alone mmdetection does it.
        """
        images, labels, masks = batch
        counts = (labels != NONE).sum(1)
        most = min(1 << int(max(counts.max(), 1) - 1).bit_length(), labels.shape[1])
        matched = np.minimum(counts, self.queries).sum(dtype=np.float64)
        mean = max(float(world.sum(matched)) / (world.size * self.parts), 1.0)
        labels, masks = (np.ascontiguousarray(array[:, :most]) for array in (labels, masks))
        return images, labels, masks, np.array(positions), Shared(np.float32(mean))

    def construct(self, images: Tensor, labels: Tensor, masks: Tensor, positions: Tensor, mean: Tensor) -> Tensor:
        """positions: (n,) int64. mean: scalar float32, what masks' losses are divided by. -> scalar float32."""
        classes_of, total = labels.asnumpy(), 0.0
        counts = (classes_of != NONE).sum(1)
        predictions = self.predict(images)
        draws = self._draw(positions.asnumpy(), np.minimum(counts, self.queries), labels.shape[1], len(predictions))
        for (class_logits, mask_logits), (points, candidates, others) in zip(predictions, draws, strict=True):
            fixed = ops.stop_gradient(class_logits), ops.stop_gradient(mask_logits)
            costs = self.costs(*fixed, labels, masks, points).asnumpy()
            classes, queries, targets = self._assign(costs, classes_of, counts, class_logits.shape[-1] - 1)
            points, truth = self.choose(fixed[1], masks, queries, targets, candidates, others)
            total = total + self.learn(class_logits, mask_logits, classes, queries, points, truth, mean)
        return total

    def _draw(
        self, positions: np.ndarray, counts: np.ndarray, most: int, predictions: int
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The points of each prediction. The next ones are drawn while the caller is busy with some."""

        def draw(prediction: int) -> tuple[np.ndarray, ...]:
            learning = self.draws.for_learning(positions, counts, most, prediction)
            return self.draws.for_matching(positions, prediction), *learning

        with ThreadPoolExecutor(1) as thread:
            coming = thread.submit(draw, 0)
            for following in range(1, predictions + 1):
                drawn = coming.result()
                if following < predictions:
                    coming = thread.submit(draw, following)
                yield tuple(map(Tensor, drawn))

    def _assign(
        self, costs: np.ndarray, labels: np.ndarray, counts: np.ndarray, no_object: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Classes that queries are to learn (n, Q), and the pairs: queries and targets of the whole batch (n M,)."""
        queries, targets = match(costs, counts)
        classes = np.full(costs.shape[:2], no_object, np.int32)
        samples, pairs = np.nonzero(queries != NONE)
        classes[samples, queries[samples, pairs]] = labels[samples, targets[samples, pairs]]
        for numbers, of_sample in ((queries, self.queries), (targets, labels.shape[1])):
            numbers[samples, pairs] += (samples * of_sample).astype(np.int32)
        return Tensor(classes), Tensor(queries.ravel()), Tensor(targets.ravel())


class _Predictions(nn.Cell):
    def __init__(self, model: nn.Cell):
        super().__init__(auto_prefix=False)
        self.model = model

    def construct(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        return self.model(images, True)


class _Choice(nn.Cell):
    """Where the pairs' masks are compared, (K, P, 2), and the targets' values there, (K, P).

    mask_logits (n, Q, h, w), masks (n, M, H, W), queries and targets (K,), candidates (K, C, 2), others (K, O, 2).
    """

    def __init__(self, uncertain: int):
        super().__init__()
        self.some_uncertain, self.uncertain, self.sample = uncertain > 0, UncertainPoints(uncertain), SamplePoints()

    def construct(
        self, mask_logits: Tensor, masks: Tensor, queries: Tensor, targets: Tensor, candidates: Tensor, others: Tensor
    ) -> tuple[Tensor, Tensor]:
        logits = ops.reshape(mask_logits, (-1, *mask_logits.shape[2:]))
        points = others
        if self.some_uncertain:
            points = self.uncertain(logits, queries, candidates)
            points = ops.concat((points, others), 1) if others.shape[1] else points
        return points, self.sample(ops.reshape(masks, (-1, *masks.shape[2:])), targets, points)


class _PredictionLoss(nn.Cell):
    """The loss of one prediction, of matched queries.

    class_logits (n, Q, C + 1), mask_logits (n, Q, h, w), classes (n, Q) int32, and of pairs: queries (K,), points
    (K, P, 2), truth (K, P). mean: what masks' losses are divided by.
    """

    def __init__(self, recipe: Recipe):
        super().__init__()
        self.class_weight, self.no_object_weight = recipe.class_weight, recipe.no_object_weight
        self.mask_weight, self.dice_weight = recipe.mask_weight, recipe.dice_weight
        self.sample = SamplePoints()
        self.cross_entropy = ops.BCEWithLogitsLoss("none")

    def construct(
        self,
        class_logits: Tensor,
        mask_logits: Tensor,
        classes: Tensor,
        queries: Tensor,
        points: Tensor,
        truth: Tensor,
        mean: Tensor,
    ) -> Tensor:
        log_shares = ops.log_softmax(class_logits, -1)
        of_classes = -ops.gather_elements(log_shares, 2, ops.expand_dims(classes, -1))[..., 0]
        weights = ops.select(classes == class_logits.shape[-1] - 1, self.no_object_weight, 1.0)
        of_classes = (of_classes * weights).sum() / (weights.sum() + _EPSILON)

        logits = self.sample(ops.reshape(mask_logits, (-1, *mask_logits.shape[2:])), queries, points)
        paired, ones = (queries != NONE).astype(ms.float32), ops.ones_like(logits)
        of_masks = self.cross_entropy(logits, truth, ones, ones).mean(-1)
        shares = ops.sigmoid(logits)
        overlaps = (2 * (shares * truth).sum(-1) + 1) / (shares.sum(-1) + truth.sum(-1) + 1)
        of_masks = self.mask_weight * of_masks + self.dice_weight * (1 - overlaps)
        return self.class_weight * of_classes + (of_masks * paired).sum() / mean
