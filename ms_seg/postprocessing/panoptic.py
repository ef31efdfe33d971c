"""From queries to a panoptic map: each pixel belongs to one segment, a thing or a kind of stuff, or to none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ms_seg.postprocessing.queries import Queries, UpsampledMasks
from ms_seg.postprocessing.rules import MASK_THRESHOLD, OVERLAP_THRESHOLD, Rule


@dataclass(frozen=True)
class PanopticSegment:
    """label: the class, as the index of the model's output. score: 0..1. instance: the number of a thing among the
    things of all classes, from 1, as mmdetection counts them; 0 for stuff."""

    label: int
    score: float
    instance: int = 0


@dataclass(frozen=True, eq=False)
class Panoptic:
    """segment_map: (H, W) int32, for each pixel the place of its segment in `segments`, from 1; 0 for none."""

    segment_map: np.ndarray
    segments: tuple[PanopticSegment, ...]


@dataclass(frozen=True, eq=False)
class PixelAssignment:
    """Which of K queries wins each pixel, and areas in pixels.

    winner: (H, W) int16. in_mask: (H, W) bool, whether the pixel is in the winner's own mask.
    won, won_in_mask, mask_area: (K,) int64, the pixels that a query wins, those of them in its own mask, and its own
    mask.
    """

    winner: np.ndarray
    in_mask: np.ndarray
    won: np.ndarray
    won_in_mask: np.ndarray
    mask_area: np.ndarray


def panoptic_inference(queries: Queries, things: Sequence[bool], rule: Rule) -> Panoptic:
    """The panoptic answer of one of the published implementations.

    Each pixel goes to the query with the highest product of score and mask. A query becomes a segment if it wins most
    of its own mask.

    Args:
        things: for each class, whether it is a thing, counted one by one.

    The score of a segment is its class probability; of merged segments, the mean over their pixels.
    """
    probabilities = queries.class_probabilities()
    labels, scores = probabilities.argmax(axis=1), probabilities.max(axis=1)
    kept = np.flatnonzero((labels != probabilities.shape[1] - 1) & (scores > np.float32(rule.score_threshold)))
    if not kept.size:
        return Panoptic(np.zeros(queries.geometry.picture, np.int32), ())
    labels, scores = labels[kept], scores[kept]
    pixels = assign_pixels(queries.masks(rule.grid, kept), scores, rule)
    areas = pixels.won_in_mask if rule.filter_low_score else pixels.won
    place = np.zeros(len(kept), np.int32)  # of each query's segment
    members: list[list[int]] = []  # the queries of each segment
    instances: list[int] = []
    place_of_stuff: dict[int, int] = {}
    counted = 0
    for query, label in enumerate(labels.tolist()):
        won, mask_area = pixels.won[query], pixels.mask_area[query]
        if not won or not mask_area or won / mask_area < OVERLAP_THRESHOLD:
            continue
        if things[label] and (areas[query] or rule.number_empty):
            counted += 1
        if not areas[query]:
            continue
        place[query] = place_of_stuff.get(label, 0)
        if not place[query]:
            members.append([])
            instances.append(counted if things[label] else 0)
            place[query] = len(members)
            if rule.merge_stuff and not things[label]:
                place_of_stuff[label] = len(members)
        members[place[query] - 1].append(query)
    segment_map = place[pixels.winner]
    if rule.filter_low_score:
        segment_map[~pixels.in_mask] = 0
    segments = (
        PanopticSegment(int(labels[queries[0]]), float(np.average(scores[queries], weights=areas[queries])), instance)
        for queries, instance in zip(members, instances, strict=True)
    )
    return Panoptic(segment_map, tuple(segments))


def assign_pixels(masks: UpsampledMasks, scores: np.ndarray, rule: Rule) -> PixelAssignment:
    """Who wins each pixel, by the highest product of score (K,) and mask."""
    count = len(scores)
    winner, in_mask = np.empty(masks.size, np.int16), np.empty(masks.size, bool)
    won, won_in_mask, mask_area = (np.zeros(count, np.int64) for _ in range(3))
    for tile in masks.tiles():
        lowest, highest = masks.bounds(tile)
        # The queries that can win here and those whose own mask can reach here; the others change nothing.
        near = np.flatnonzero((highest * scores >= (lowest * scores).max()) | (highest >= MASK_THRESHOLD))
        probabilities = masks.crop(tile, near)
        weighted = probabilities * scores[near].reshape(-1, 1, 1)
        first = weighted.argmax(axis=0)
        first_in_mask = np.take_along_axis(probabilities, first[None], axis=0)[0] >= MASK_THRESHOLD
        own = (weighted if rule.weighted_areas else probabilities) >= MASK_THRESHOLD
        mask_area[near] += np.count_nonzero(own, axis=(1, 2))
        winner[tile] = near[first]
        in_mask[tile] = first_in_mask
        won[near] += np.bincount(first.ravel(), minlength=near.size)
        won_in_mask[near] += np.bincount(first[first_in_mask], minlength=near.size)
    return PixelAssignment(winner, in_mask, won, won_in_mask, mask_area)
