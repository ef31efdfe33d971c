"""From queries to the class of each pixel: the sum over queries of class probability times mask probability."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple

import numpy as np

from ms_seg.data.preprocessing import Geometry
from ms_seg.postprocessing.logits import ClassMaps, best_classes, label_pixels
from ms_seg.postprocessing.queries import (
    Queries,
    Tile,
    UpsampledMasks,
    class_probabilities,
    resize_maps,
    sigmoid,
    tiles,
)
from ms_seg.postprocessing.resizing import Taps
from ms_seg.postprocessing.rules import Rule


def semantic_inference(queries: Queries, rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """The semantic answer of one of the published implementations: the class of the highest score at each pixel.

    Returns: label_map (H, W) int32 at the picture's own size; scores (C,) float64 of 0..1, the mean over the pixels of
        a class of its share in the scores of all classes there, 0 for a class without pixels.
    """
    classes = _transposed(queries.class_probabilities())  # (C, Q)
    crop = _score_maps(queries, classes, rule)
    label_map, share_sums = np.empty(queries.geometry.picture, np.int32), np.zeros(len(classes))
    for tile in tiles(queries.geometry.picture):
        label_map[tile], tile_sums = best_classes(crop(tile).transpose(1, 2, 0), shares=True)
        share_sums += tile_sums
    areas = np.bincount(label_map.ravel(), minlength=len(classes))
    return label_map, share_sums / np.maximum(areas, 1)


def label_scores(scores: ClassMaps) -> tuple[np.ndarray, np.ndarray]:
    """As `semantic_inference`, of scores that windows gave.

    Of them the softmax is nearly even: they are no logits. What a class has of all scores there says more.
    """
    return label_pixels(scores, shares=True)


def semantic_scores(class_logits: np.ndarray, mask_logits: np.ndarray) -> np.ndarray:
    """The score of each class at each pixel of the masks, at their own size: Mask2Former's semantic_inference.

    Args:
        class_logits: (Q, C + 1) float32, "no object" last, which takes part in the softmax and is then left out.
        mask_logits: (Q, h, w) float32.

    Returns: (C, h, w) float32, from 0 to at most Q.
    """
    return _summed(_transposed(class_probabilities(class_logits)), sigmoid(mask_logits))


def _score_maps(queries: Queries, classes: np.ndarray, rule: Rule) -> Callable[[Tile], np.ndarray]:
    """What gives the scores of the classes in a tile of the picture, (C, rows, columns) float32."""
    if rule.grid:
        return UpsampledMasks(_summed(classes, queries.on_grid(rule.grid)), queries.geometry).crop
    if rule.scores_at_input:
        return _scores_at_input(queries, classes)
    masks = queries.masks(None)
    return lambda tile: _summed(classes, masks.crop(tile))


def _scores_at_input(queries: Queries, classes: np.ndarray) -> Callable[[Tile], np.ndarray]:
    """The same, of scores that are made at the size of the input, without its padding, and then resized."""
    _, resized, padded = astuple(queries.geometry)
    masks = UpsampledMasks(queries.mask_logits, Geometry(padded, padded, padded), activation=sigmoid)
    by_row, by_column = (Taps.between(*sides) for sides in zip(resized, queries.geometry.picture, strict=True))

    def scores(tile: Tile) -> np.ndarray:
        rows, columns = by_row.sources(tile[0]), by_column.sources(tile[1])
        values = _summed(classes, masks.crop((rows, columns)))
        return resize_maps(values, by_column.part(tile[1], columns.start), by_row.part(tile[0], rows.start))

    return scores


def _transposed(probabilities: np.ndarray) -> np.ndarray:
    """(Q, C + 1) -> (C, Q), without "no object"."""
    return np.ascontiguousarray(probabilities[:, :-1].T)


def _summed(classes: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """(C, Q) and (Q, h, w) -> (C, h, w)."""
    return (classes @ masks.reshape(len(masks), -1)).reshape(len(classes), *masks.shape[1:])
