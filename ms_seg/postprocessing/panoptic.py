"""From queries to a panoptic map: every pixel to one segment of a thing or of stuff, or to none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ms_seg.postprocessing.queries import Maps, Queries
from ms_seg.postprocessing.rules import LEAST_OVERLAP, SURE, Rule


@dataclass(frozen=True)
class Segment:
    """label: the class, as the index of the model's output. score: 0..1. instance: the running number of a thing among
    those of all classes, from 1 on, as mmdetection counts them; 0 for stuff."""

    label: int
    score: float
    instance: int = 0


@dataclass(frozen=True, eq=False)
class Panoptic:
    """segment_map: (H, W) int32, for each pixel the place of its segment in `segments`, from 1 on; 0 for none."""

    segment_map: np.ndarray
    segments: tuple[Segment, ...]


@dataclass(frozen=True, eq=False)
class _Claims:
    """What queries hold of a picture: the winner of each pixel, whether its own mask is there, and areas in pixels."""

    winner: np.ndarray  # (H, W) int16
    sure: np.ndarray  # (H, W) bool
    held: np.ndarray  # (K,) int64: where a query wins
    held_surely: np.ndarray  # (K,) int64: of these, where its own mask is
    own: np.ndarray  # (K,) int64: its own mask


def merge(queries: Queries, things: Sequence[bool], rule: Rule) -> Panoptic:
    """The panoptic answer of one of the published implementations.

    A query claims the pixels where its score times its mask is the highest. It gets them if that leaves it most of its
    own mask.

    Args:
        things: for each class, whether it is counted one by one.

    The score of a segment is the probability of its class; of merged ones, the mean over the pixels.
    """
    probabilities = queries.class_probabilities()
    labels, scores = probabilities.argmax(axis=1), probabilities.max(axis=1)
    kept = np.flatnonzero((labels != probabilities.shape[1] - 1) & (scores > np.float32(rule.least_score)))
    if not kept.size:
        return Panoptic(np.zeros(queries.geometry.picture, np.int32), ())
    labels, scores = labels[kept], scores[kept]
    claims = _claim(queries.masks(rule.grid, kept), scores, rule)
    areas = claims.held_surely if rule.sure_only else claims.held
    place = np.zeros(len(kept), np.int32)  # of each query, that of its segment
    members: list[list[int]] = []  # of each segment, its queries
    instances: list[int] = []
    of_stuff: dict[int, int] = {}
    counted = 0
    for query, label in enumerate(labels.tolist()):
        held, own = claims.held[query], claims.own[query]
        if not held or not own or held / own < LEAST_OVERLAP:
            continue
        if things[label] and (areas[query] or rule.number_empty):
            counted += 1
        if not areas[query]:
            continue
        place[query] = of_stuff.get(label, 0)
        if not place[query]:
            members.append([])
            instances.append(counted if things[label] else 0)
            place[query] = len(members)
            if rule.merge_stuff and not things[label]:
                of_stuff[label] = len(members)
        members[place[query] - 1].append(query)
    segment_map = place[claims.winner]
    if rule.sure_only:
        segment_map[~claims.sure] = 0
    segments = (
        Segment(int(labels[queries[0]]), float(np.average(scores[queries], weights=areas[queries])), instance)
        for queries, instance in zip(members, instances, strict=True)
    )
    return Panoptic(segment_map, tuple(segments))


def _claim(masks: Maps, scores: np.ndarray, rule: Rule) -> _Claims:
    count = len(scores)
    winner, sure = np.empty(masks.size, np.int16), np.empty(masks.size, bool)
    held, held_surely, own = (np.zeros(count, np.int64) for _ in range(3))
    for tile in masks.tiles():
        lowest, highest = masks.bounds(tile)
        # Whoever can win here, and whoever's own mask can reach here; the rest changes nothing.
        near = np.flatnonzero((highest * scores >= (lowest * scores).max()) | (highest >= SURE))
        probabilities = masks.cut(tile, near)
        weighted = probabilities * scores[near].reshape(-1, 1, 1)
        first = weighted.argmax(axis=0)
        of_first = np.take_along_axis(probabilities, first[None], axis=0)[0] >= SURE
        own[near] += np.count_nonzero((weighted if rule.weighted_areas else probabilities) >= SURE, axis=(1, 2))
        winner[tile] = near[first]
        sure[tile] = of_first
        held[near] += np.bincount(first.ravel(), minlength=near.size)
        held_surely[near] += np.bincount(first[of_first], minlength=near.size)
    return _Claims(winner, sure, held, held_surely, own)
