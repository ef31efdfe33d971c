"""From queries to the class of each pixel: the sum over queries of its probability times the mask decides."""

from __future__ import annotations

import numpy as np

from ms_seg.postprocessing.queries import Maps, Queries
from ms_seg.postprocessing.rules import Rule


def label_queries(queries: Queries, rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """The semantic answer of one of the published implementations: the class of the highest score at each pixel.

    Returns: labels (H, W) int32 at the picture's own size; scores (C,) float64 of 0..1, the mean over the pixels of a
        class of its share of all classes' scores there, 0 for a class without pixels.
    """
    classes = np.ascontiguousarray(queries.class_probabilities()[:, :-1].T)  # (C, Q)
    if rule.grid:
        on_grid = queries.on_grid(rule.grid)
        summed = (classes @ on_grid.reshape(len(on_grid), -1)).reshape(-1, *on_grid.shape[1:])
        maps = Maps(summed, queries.geometry)
    else:
        maps = queries.masks(None)
    labels, share_sums = np.empty(maps.size, np.int32), np.zeros(len(classes))
    for tile in maps.tiles():
        scores = maps.cut(tile)
        if not rule.grid:
            scores = (classes @ scores.reshape(len(scores), -1)).reshape(len(classes), *scores.shape[1:])
        chosen = scores.argmax(axis=0)
        labels[tile] = chosen
        highest = np.take_along_axis(scores, chosen[None], axis=0)[0]
        shares = highest / np.maximum(scores.sum(axis=0), np.finfo(np.float32).tiny)
        share_sums += np.bincount(chosen.ravel(), shares.ravel(), len(classes))
    areas = np.bincount(labels.ravel(), minlength=len(classes))
    return labels, share_sums / np.maximum(areas, 1)


def semantic_scores(class_logits: np.ndarray, mask_logits: np.ndarray) -> np.ndarray:
    from ms_seg.postprocessing.logits import softmax
    from ms_seg.postprocessing.queries import sigmoid

    p = class_logits.astype(np.float64)
    softmax(p)
    return (p[:, :-1].T.astype(np.float32) @ sigmoid(mask_logits).reshape(len(mask_logits), -1)).reshape(
        -1, *mask_logits.shape[1:]
    )
