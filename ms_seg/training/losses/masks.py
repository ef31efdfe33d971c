"""The loss of models that give classes and masks of queries: Mask2Former's, as mmdetection computes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from ms_seg.cells.assignment import NativeAssignment
from ms_seg.cells.norm import running_statistics
from ms_seg.cells.points import SamplePoints, UncertainPoints
from ms_seg.cells.position import arange
from ms_seg.distributed import World
from ms_seg.presets.recipe import Recipe
from ms_seg.training.losses.matching import PADDING, MatchingCosts, match
from ms_seg.training.step import Batch, Replicated

Arrays = tuple[np.ndarray, ...]
Integers = Sequence[int] | np.ndarray

_EPSILON = 2.0**-23  # what mmdetection adds to what it divides by

_POINTS = 3  # what randomness is for: beside the order of pictures, their augmentation and dropout
_MATCHING, _CANDIDATES, _RANDOM = range(3)


class _Matched(nn.Cell):
    """What all the losses do: queries are matched with targets (see `matching`), by SciPy on the host but for one."""

    least_targets, targets_growth = 1, 2  # sizes of M, see `prepare_batch`

    def __init__(self, model: nn.Cell, recipe: Recipe):
        """model: a Mask2Former, trained by `recipe`."""
        super().__init__(auto_prefix=False)
        self.model, self.accumulate = model, recipe.accumulate
        self.queries = model.query_decoder.query_feat.shape[0]
        self.points = PointSampler(recipe)
        self.predict = ms.jit(_AllLayers(model).construct)
        self.costs = ms.jit(MatchingCosts(recipe).construct)
        self.choose = ms.jit(_ChoosePoints(self.points.uncertain).construct)

    def prepare_batch(self, batch: Arrays, positions: range, world: World) -> Batch:
        """This process's share of a step -> images, labels, masks, positions, num_masks.

        batch: images (n, 3, s, s) float32, labels (n, M) int32, the classes of each sample's targets and then PADDING,
            and masks (n, M, s, s) uint8 of 0 and 1.
        positions: of the samples in the run.

        M is cut to the largest number of targets in a sample, rounded up to one of few sizes, each of which is a graph.
        The masks' losses are divided by num_masks, the mean number of matched targets, at least 1, over the
        micro-batches and the processes of the step; mmdetection takes the mean over processes alone.
        """
        return *self._cut(batch), np.array(positions), self._num_masks(batch[1], world)

    def _cut(self, batch: Arrays) -> Arrays:
        images, labels, masks = batch
        largest, max_targets = np.sum(labels != PADDING, axis=1).max(), self.least_targets
        while max_targets < largest:
            max_targets *= self.targets_growth
        labels, masks = (np.ascontiguousarray(array[:, :max_targets]) for array in (labels, masks))
        return images, labels, masks

    def _num_masks(self, labels: np.ndarray, world: World) -> Replicated:
        matched = self._matched_targets(labels).sum(dtype=np.float64)
        return Replicated(np.array(max(float(world.sum(matched)) / (world.size * self.accumulate), 1.0), np.float32))

    def _matched_targets(self, labels: np.ndarray) -> np.ndarray:
        """How many targets of each sample there are queries for: (n,)."""
        return np.minimum(np.sum(labels != PADDING, axis=1), self.queries)

    def _match(
        self, predictions: Sequence[tuple[Tensor, Tensor]], labels: Tensor, masks: Tensor, positions: Tensor
    ) -> Iterator[tuple[Tensor, ...]]:
        """What the queries of each prediction are to learn: classes, queries, points and truth of `_LayerLoss`."""
        targets = labels.asnumpy()
        counts, matched = (targets != PADDING).sum(1), self._matched_targets(targets)
        drawn = self._draw_points(positions.asnumpy(), matched, labels.shape[1], len(predictions))
        for (class_logits, mask_logits), (points, candidates, random) in zip(predictions, drawn, strict=True):
            class_logits, mask_logits = ops.stop_gradient(class_logits), ops.stop_gradient(mask_logits)
            costs = self.costs(class_logits, mask_logits, labels, masks, points).asnumpy()
            classes, queries, pairs = self._assign(costs, targets, counts, class_logits.shape[-1] - 1)
            yield classes, queries, *self.choose(mask_logits, masks, queries, pairs, candidates, random)

    def _draw_points(
        self, positions: np.ndarray, counts: np.ndarray, max_masks: int, predictions: int
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The points of each prediction. The next ones are drawn while the caller works with the last."""

        def draw(prediction: int) -> tuple[np.ndarray, ...]:
            for_loss = self.points.for_loss(positions, counts, max_masks, prediction)
            return self.points.for_matching(positions, prediction), *for_loss

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
        """The class that each query is to learn (n, Q), and the pairs: indices of queries and targets in the batch
        (n M,)."""
        queries, targets = match(costs, counts)
        classes = np.full(costs.shape[:2], no_object, np.int32)
        samples, pairs = np.nonzero(queries != PADDING)
        classes[samples, queries[samples, pairs]] = labels[samples, targets[samples, pairs]]
        for indices, per_sample in ((queries, self.queries), (targets, labels.shape[1])):
            indices[samples, pairs] += (samples * per_sample).astype(np.int32)
        return Tensor(classes), Tensor(queries.ravel()), Tensor(targets.ravel())


class MaskLoss(_Matched):
    """The sum of the losses of all predictions, from that before the first layer of the query decoder to the last.

    In each, queries are matched with targets. A matched query learns its target's class and mask, the others learn "no
    object": cross-entropy of classes, a weighted mean over this micro-batch; binary cross-entropy and dice loss of
    masks at points, most of which lie where the mask is least certain.

    The matching is SciPy's, on the host. So this cell is not one graph but calls several, which PyNative
    differentiates: each keeps what its gradients need, and nothing is computed twice. `RecomputedMaskLoss` is the other
    way.
    """

    is_graph = False

    def __init__(self, model: nn.Cell, recipe: Recipe):
        """model: a Mask2Former, trained by `recipe`."""
        super().__init__(model, recipe)
        self.layer_loss = ms.jit(_LayerLoss(recipe).construct)

    def construct(self, images: Tensor, labels: Tensor, masks: Tensor, positions: Tensor, num_masks: Tensor) -> Tensor:
        """positions: (n,) int64. num_masks: scalar float32, what the masks' losses are divided by. -> scalar float32"""
        predictions, total = self.predict(images), 0.0
        matched = self._match(predictions, labels, masks, positions)
        for (class_logits, mask_logits), to_learn in zip(predictions, matched, strict=True):
            total = total + self.layer_loss(class_logits, mask_logits, *to_learn, num_masks)
        return total


class RecomputedMaskLoss(_Matched):
    """The sum that `MaskLoss` is, in the memory of recomputed blocks, for another forward pass.

    The queries are matched first, by a pass that keeps nothing; what they are to learn then belongs to the batch, and
    loss and gradients are one graph, in which MindSpore recomputes. A ViT-Adapter of 256 channels with a Mask2Former as
    wide, one crop of 896x896: 5.5 GB instead of 14.0.
    """

    def __init__(self, model: nn.Cell, recipe: Recipe):
        super().__init__(model, recipe)
        self.layer_loss = _LayerLoss(recipe)
        self.statistics = [(statistic, statistic.clone()) for statistic in running_statistics(model)]

    def prepare_part(
        self, images: Tensor, labels: Tensor, masks: Tensor, positions: Tensor, num_masks: Tensor
    ) -> tuple[Tensor, ...]:
        """What `prepare_batch` returns, as tensors of a micro-batch -> what `construct` takes."""
        for statistic, kept in self.statistics:
            ops.assign(kept, statistic)
        matched = self._match(self.predict(images), labels, masks, positions)
        parts = (images, num_masks, *(tensor for to_learn in matched for tensor in to_learn))
        for statistic, kept in self.statistics:  # a batch counts once
            ops.assign(statistic, kept)
        return parts

    def construct(self, images: Tensor, num_masks: Tensor, *matched: Tensor) -> Tensor:
        """matched: classes, queries, points and truth of each prediction, one after the other; see `_LayerLoss`."""
        total = 0.0
        for place, (class_logits, mask_logits) in enumerate(self.model(images, True)):
            to_learn = matched[4 * place : 4 * place + 4]
            total = total + self.layer_loss(class_logits, mask_logits, *to_learn, num_masks)
        return total


class GraphMaskLoss(_Matched):
    """The sum that `MaskLoss` is, as one graph with its gradients: the matching is an operator in C.

    Needs `native.available()`. Nothing passes from one graph to another, which holds it until it is run again: a step
    of Mask2Former with ResNet-50 takes 3.9 GB instead of 5.7. Every size of a batch's targets is a graph of the whole
    model, so that there are fewer sizes.
    """

    least_targets, targets_growth = 8, 4

    def __init__(self, model: nn.Cell, recipe: Recipe):
        """model: a Mask2Former, trained by `recipe`."""
        super().__init__(model, recipe)
        self.to_learn, self.layer_loss = _ToLearn(recipe, self.points.uncertain), _LayerLoss(recipe)
        self.predictions = len(model.query_decoder.layers) + 1

    def prepare_batch(self, batch: Arrays, positions: range, world: World) -> Batch:
        """As `_Matched` does, but for the points in the place of positions: see `construct`."""
        images, labels, masks = self._cut(batch)
        matched, (samples, max_masks) = self._matched_targets(labels), labels.shape
        places = range(self.predictions)
        shared = np.stack([self.points.for_matching(positions, place) for place in places], 1)
        drawn = zip(*(self.points.for_loss(positions, matched, max_masks, place) for place in places), strict=True)
        candidates, random = (
            np.stack([points.reshape(samples, max_masks, -1, 2) for points in one], 1) for one in drawn
        )
        return images, labels, masks, shared, candidates, random, self._num_masks(labels, world)

    def construct(
        self,
        images: Tensor,
        labels: Tensor,
        masks: Tensor,
        shared: Tensor,
        candidates: Tensor,
        random: Tensor,
        num_masks: Tensor,
    ) -> Tensor:
        """shared (n, predictions, P, 2): points at which all masks are compared to be matched. Of each of M masks,
        candidates (n, predictions, M, C, 2) and random points (n, predictions, M, R, 2): see `PointSampler`."""
        # As slices MindSpore takes 500 ms for those of two samples with 8 masks and 10 predictions, and so 7.
        shared, candidates, random = (ops.unstack(points, 1) for points in (shared, candidates, random))
        total = 0.0
        for place, (class_logits, mask_logits) in enumerate(self.model(images, True)):
            predicted = ops.stop_gradient(class_logits), ops.stop_gradient(mask_logits)
            to_learn = self.to_learn(*predicted, labels, masks, shared[place], candidates[place], random[place])
            total = total + self.layer_loss(class_logits, mask_logits, *to_learn, num_masks)
        return total


class PointSampler:
    """Uniform points (x, y) from 0 to 1, float32, that depend only on the run's seed, a sample's position in the run
    and the number of the prediction."""

    def __init__(self, recipe: Recipe):
        """recipe: of the `points` of a mask, `uncertain` many are to be chosen out of `candidates` many."""
        self.seed, self.points = recipe.seed, recipe.points
        self.candidates = int(recipe.points * recipe.oversample)
        self.uncertain = int(recipe.points * recipe.importance)

    def for_matching(self, positions: Integers, prediction: int) -> np.ndarray:
        """Where all masks of a sample are compared: (samples, points, 2)."""
        points = np.empty((len(positions), self.points, 2), np.float32)
        for position, out in zip(positions, points, strict=True):
            self._draw(out, position, prediction, _MATCHING)
        return points

    def for_loss(
        self, positions: Integers, counts: Integers, max_masks: int, prediction: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Points of counts[i] masks of the i-th sample, then zeros up to max_masks.

        Returns: candidates to choose from, (samples * max_masks, candidates, 2), and random points that are taken as
            they are, (samples * max_masks, points - uncertain, 2).
        """
        candidates = np.zeros((len(positions), max_masks, self.candidates, 2), np.float32)
        random = np.zeros((len(positions), max_masks, self.points - self.uncertain, 2), np.float32)
        for i, (position, count) in enumerate(zip(positions, counts, strict=True)):
            self._draw(candidates[i, :count], position, prediction, _CANDIDATES)
            self._draw(random[i, :count], position, prediction, _RANDOM)
        masks = len(positions) * max_masks
        return candidates.reshape(masks, self.candidates, 2), random.reshape(masks, self.points - self.uncertain, 2)

    def _draw(self, out: np.ndarray, position: int, prediction: int, purpose: int) -> None:
        key = (_POINTS, position, prediction, purpose)
        np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key)).random(dtype=np.float32, out=out)


class _AllLayers(nn.Cell):
    def __init__(self, model: nn.Cell):
        super().__init__(auto_prefix=False)
        self.model = model

    def construct(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        return self.model(images, True)


class _ToLearn(nn.Cell):
    """What the queries of a prediction are to learn: classes, queries, points and truth of `_LayerLoss`.

    Arguments: those of `GraphMaskLoss`, of one prediction. Nothing here has gradients.
    """

    def __init__(self, recipe: Recipe, uncertain: int):
        super().__init__()
        self.costs, self.choose = MatchingCosts(recipe), _ChoosePoints(uncertain)
        self.assign = NativeAssignment()

    def construct(
        self,
        class_logits: Tensor,
        mask_logits: Tensor,
        labels: Tensor,
        masks: Tensor,
        shared: Tensor,
        candidates: Tensor,
        random: Tensor,
    ) -> tuple[Tensor, ...]:
        samples, num_queries, num_classes = class_logits.shape
        max_masks = labels.shape[1]
        queries, targets = self.assign(self.costs(class_logits, mask_logits, labels, masks, shared), labels)
        learned = ops.gather_elements(labels, 1, ops.maximum(targets, 0))
        pairs = ops.expand_dims(queries, 1) == ops.reshape(arange(num_queries), (1, -1, 1))  # (n, Q, M)
        classes = ops.select(pairs, ops.expand_dims(learned, 1).astype(ms.float32), -1.0).max(-1).astype(ms.int32)
        classes = ops.select(classes < 0, num_classes - 1, classes)
        sample = ops.reshape(arange(samples), (-1, 1))
        queries = ops.select(queries < 0, PADDING, queries + sample * num_queries).ravel()
        targets = ops.select(targets < 0, PADDING, targets + sample * max_masks).ravel()
        candidates = ops.reshape(candidates, (-1, *candidates.shape[2:]))
        random = ops.reshape(random, (-1, *random.shape[2:]))
        return classes, queries, *self.choose(mask_logits, masks, queries, targets, candidates, random)

    def bprop(
        self,
        class_logits: Tensor,
        mask_logits: Tensor,
        labels: Tensor,
        masks: Tensor,
        shared: Tensor,
        candidates: Tensor,
        random: Tensor,
        out: tuple[Tensor, ...],
        dout: tuple[Tensor, ...],
    ) -> tuple[Tensor, ...]:
        return class_logits, mask_logits, labels, masks, shared, candidates, random  # nothing asks for them


class _ChoosePoints(nn.Cell):
    """Where the masks of pairs are compared, (K, P, 2), and the targets' values there, (K, P).

    mask_logits (n, Q, h, w), masks (n, M, H, W), queries and targets (K,), candidates (K, C, 2), random (K, R, 2).
    """

    def __init__(self, uncertain: int):
        super().__init__()
        self.some_uncertain, self.uncertain, self.sample = uncertain > 0, UncertainPoints(uncertain), SamplePoints()

    def construct(
        self, mask_logits: Tensor, masks: Tensor, queries: Tensor, targets: Tensor, candidates: Tensor, random: Tensor
    ) -> tuple[Tensor, Tensor]:
        logits = ops.reshape(mask_logits, (-1, *mask_logits.shape[2:]))
        points = random
        if self.some_uncertain:
            points = self.uncertain(logits, queries, candidates)
            points = ops.concat((points, random), 1) if random.shape[1] else points
        return points, self.sample(ops.reshape(masks, (-1, *masks.shape[2:])), targets, points)


class _LayerLoss(nn.Cell):
    """The loss of one prediction, after matching.

    class_logits (n, Q, C + 1), mask_logits (n, Q, h, w), classes (n, Q) int32, and of pairs: queries (K,), points
    (K, P, 2), truth (K, P). num_masks: what the masks' losses are divided by.
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
        num_masks: Tensor,
    ) -> Tensor:
        log_probs = ops.log_softmax(class_logits, -1)
        class_loss = -ops.gather_elements(log_probs, 2, ops.expand_dims(classes, -1))[..., 0]
        weights = ops.select(classes == class_logits.shape[-1] - 1, self.no_object_weight, 1.0)
        class_loss = (class_loss * weights).sum() / (weights.sum() + _EPSILON)

        logits = self.sample(ops.reshape(mask_logits, (-1, *mask_logits.shape[2:])), queries, points)
        matched, ones = (queries != PADDING).astype(ms.float32), ops.ones_like(logits)
        mask_loss = self.cross_entropy(logits, truth, ones, ones).mean(-1)
        probs = ops.sigmoid(logits)
        dice = (2 * (probs * truth).sum(-1) + 1) / (probs.sum(-1) + truth.sum(-1) + 1)
        mask_loss = self.mask_weight * mask_loss + self.dice_weight * (1 - dice)
        return self.class_weight * class_loss + (mask_loss * matched).sum() / num_masks
