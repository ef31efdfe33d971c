"""From queries to instances, each with its own mask and score. Masks may overlap and need not cover the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ms_seg.postprocessing.queries import Queries, UpsampledMasks, sigmoid
from ms_seg.postprocessing.rules import Rule


@dataclass(frozen=True, eq=False)
class Instances:
    """Instances, the most probable first.

    labels: (K,) int64, classes as indices of the model's outputs. scores: (K,) float64 of 0..1, the class probability
    times the mean mask probability within the mask. areas: (K,) int64, pixels, above 0. size: (height, width).
    """

    labels: np.ndarray
    scores: np.ndarray
    areas: np.ndarray
    size: tuple[int, int]
    _bits: np.ndarray  # (M, H, ceil(W / 8)) uint8: 150 MB for a hundred masks of 12 megapixels; bool takes 1.2 GB
    _mask: np.ndarray  # (K,) which of the masks is each instance's: one query may give several classes

    def __len__(self) -> int:
        return len(self.labels)

    def mask(self, index: int) -> np.ndarray:
        """(H, W) bool, the mask of one instance."""
        return np.unpackbits(self._bits[self._mask[index]], axis=1, count=self.size[1]).view(bool)

    def part(self, index: int) -> tuple[tuple[slice, slice], np.ndarray]:
        """Rows and columns that hold the mask of one instance, and its part there, bool: what most instances need of
        it is done in a fraction of the picture."""
        bits = self._bits[self._mask[index]]
        rows, columns = np.flatnonzero(bits.any(axis=1)), np.flatnonzero(bits.any(axis=0))
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        width = min(8 * right, self.size[1]) - 8 * left
        mask = np.unpackbits(bits[top:bottom, left:right], axis=1, count=width).view(bool)
        return (slice(top, bottom), slice(8 * left, 8 * left + width)), mask


def instance_inference(queries: Queries, things: Sequence[bool], rule: Rule) -> Instances:
    """The instance answer of one of the published implementations.

    The most probable pairs of a query and a class are candidates. The mask is where its logit is above 0; candidates
    without a pixel are left out.

    Args:
        things: for each class, whether it is a thing, counted one by one.
    """
    probabilities = queries.class_probabilities()[:, :-1]
    pairs = probabilities.ravel()
    candidates = np.argsort(-pairs, kind="stable")[: rule.max_per_image or len(probabilities)]
    query, labels = np.divmod(candidates, probabilities.shape[1])
    if rule.things_only:
        counted = np.asarray(things, bool)[labels]
        candidates, query, labels = candidates[counted], query[counted], labels[counted]
    if not len(candidates):
        return Instances(labels, np.zeros(0), labels, queries.geometry.picture, np.zeros((0, 0, 0), np.uint8), labels)
    chosen, mask = np.unique(query, return_inverse=True)
    bits, areas, within = _on_grid(queries, chosen, rule.grid) if rule.grid else _at_picture(queries, chosen)
    scores = pairs[candidates].astype(np.float64) * within[mask]
    order = np.argsort(-scores, kind="stable")
    order = order[(areas[mask[order]] > 0) & (scores[order] >= rule.instance_score_threshold)]
    return Instances(labels[order], scores[order], areas[mask[order]], queries.geometry.picture, bits, mask[order])


def _at_picture(queries: Queries, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks as bits, their areas, and the mean probability within each, all computed at the picture's size."""
    maps = UpsampledMasks(queries.mask_logits[chosen], queries.geometry, via_input=True)
    height, width = maps.size
    bits = np.zeros((len(chosen), height, -(-width // 8)), np.uint8)
    areas, sums = np.zeros(len(chosen), np.int64), np.zeros(len(chosen))
    for tile in maps.tiles():
        near = np.flatnonzero(maps.bounds(tile)[1] > 0)
        for index in near:
            logits = maps.crop(tile, slice(index, index + 1))[0]
            mask = logits > 0
            bits[index, tile[0], tile[1].start // 8 : -(-tile[1].stop // 8)] = np.packbits(mask, axis=1)
            areas[index] += np.count_nonzero(mask)
            sums[index] += sigmoid(logits[mask]).sum(dtype=np.float64)
    return bits, areas, sums / (areas + 1e-6)


def _on_grid(queries: Queries, chosen: np.ndarray, grid: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same, with means computed on the grid and masks resized from there by nearest neighbour (transformers)."""
    logits = queries.logits_on_grid(grid, chosen)
    masks = logits > 0
    sums = np.where(masks, sigmoid(logits), 0).sum(axis=(1, 2), dtype=np.float64)
    within = sums / (masks.sum(axis=(1, 2)) + 1e-6)
    grids, sides = masks.shape[1:], zip(*asdict(queries.geometry).values(), strict=True)
    rows, columns = (_nearest(size, *of_input) for size, of_input in zip(grids, sides, strict=True))
    bits = np.stack([np.packbits(mask[:, columns], axis=1)[rows] for mask in masks])
    # How often each row and column of the grid is repeated.
    row_counts, column_counts = (
        np.bincount(lines, minlength=size) for lines, size in zip((rows, columns), grids, strict=True)
    )
    return bits, masks @ column_counts @ row_counts, within


def _nearest(grid: int, picture: int, resized: int, padded: int) -> np.ndarray:
    """The row or column of the grid for each of the picture; with a padded input, by way of the input."""
    if resized == padded:
        return _nearest_between(grid, picture)
    return _nearest_between(grid, padded)[:resized][_nearest_between(resized, picture)]


def _nearest_between(source: int, target: int) -> np.ndarray:
    scale = np.float32(source) / np.float32(target)
    return np.minimum((np.arange(target, dtype=np.float32) * scale).astype(np.intp), source - 1)
