"""Cityscapes' average precision of masks, as cityscapesScripts counts it (evalInstanceLevelSemanticLabeling.py)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ms_seg.data.cityscapes import is_single, is_void
from ms_seg.data.coco.codecs import decode_mask
from ms_seg.data.instance import InstanceMaps
from ms_seg.evaluation.instance.average_precision import Detection, Precision

_OVERLAPS = np.arange(0.5, 1.0, 0.05)
_MIN_AREA = 100  # pixels: smaller things are neither missed nor found


@dataclass(frozen=True)
class _Matches:
    """A picture's masks of one class: P predicted ones and T true ones.

    scores, areas: (P,). true_areas: (T,). shared: (P, T) pixels of both. counted: (T,) bool, true for single things
    that are large enough. ignored: (P,) pixels that lie in void, in groups or in small things.
    """

    scores: np.ndarray
    areas: np.ndarray
    true_areas: np.ndarray
    shared: np.ndarray
    counted: np.ndarray
    ignored: np.ndarray

    def overlaps(self) -> np.ndarray:
        """(P, T) float64, intersection over union."""
        return self.shared / np.maximum(self.areas[:, None] + self.true_areas - self.shared, 1)


def cityscapes_precision(dataset: InstanceMaps, detections: Sequence[Sequence[Detection]]) -> Precision:
    """AP over the overlaps 0.5 to 0.95, and AP50, of masks; a class without things has nan.

    A match overlaps by more than the threshold. Of several predictions of one thing the most certain counts, the others
    are false; so is one without a thing, unless a larger share of it than the threshold lies in what is ignored. The
    curve is a step-wise integral over all thresholds of the score.
    """
    classes = range(len(dataset.label_set))
    of_class: list[list[_Matches]] = [[] for _ in classes]
    for index in range(len(dataset)):
        for label, matches in zip(classes, _matches(dataset, index, detections[index]), strict=True):
            of_class[label].append(matches)
    curves = np.array([[_area(pictures, overlap) for overlap in _OVERLAPS] for pictures in of_class])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a mean of nothing, which is nan
        figures = {"AP": float(np.nanmean(curves)), "AP50": float(np.nanmean(curves[:, 0]))}
    return Precision(figures, curves.mean(axis=1))


def _matches(dataset: InstanceMaps, index: int, detections: Sequence[Detection]) -> list[_Matches]:
    """Of each class."""
    ids, labels = dataset.ids(index), len(dataset.label_set)
    areas = np.bincount(ids.ravel())
    known = [(number, dataset.thing_of(number)) for number in np.flatnonzero(areas).tolist()]
    void = np.array([number for number, _ in known if is_void(number)], np.intp)
    shared: list[list[np.ndarray]] = [[] for _ in range(labels)]
    scores: list[list[float]] = [[] for _ in range(labels)]
    for detection in detections:
        assert detection.mask is not None  # `instance_results` asks for masks if all detections have one
        inside = np.bincount(ids[decode_mask(detection.mask)], minlength=len(areas))
        if inside.any():
            shared[detection.label].append(inside)
            scores[detection.label].append(detection.score)
    found = []
    for label in range(labels):
        numbers = np.array([number for number, thing in known if thing and thing[0] == label], np.intp)
        pixels = np.array(shared[label], np.int64).reshape(-1, len(areas))
        small, group = areas[numbers] < _MIN_AREA, np.array([not is_single(number) for number in numbers], bool)
        own = pixels[:, numbers]
        # A group that is small is ignored twice, as in the original.
        ignored = pixels[:, void].sum(axis=1) + own[:, group].sum(axis=1) + own[:, small].sum(axis=1)
        found.append(
            _Matches(
                np.array(scores[label]), pixels.sum(axis=1), areas[numbers], own, ~small & ~group, ignored
            )
        )  # fmt: skip
    return found


def _area(pictures: Sequence[_Matches], overlap: float) -> float:
    """The area under the curve of one class at one overlap; nan without a thing."""
    scores: list[float] = []
    correct: list[bool] = []
    missed = things = 0
    for matches in pictures:
        hit = matches.overlaps() > overlap
        for column in np.flatnonzero(matches.counted):
            found = np.sort(matches.scores[hit[:, column]])[::-1].tolist()
            things, missed = things + 1, missed + (not found)
            scores += found
            correct += [place == 0 for place in range(len(found))]
        unmatched = ~hit.any(axis=1) & ~(matches.ignored / np.maximum(matches.areas, 1) > overlap)
        scores += matches.scores[unmatched].tolist()
        correct += [False] * int(unmatched.sum())
    if not things:
        return float("nan")
    return _integral(np.array(scores), np.array(correct, bool), missed) if scores else 0.0


def _integral(scores: np.ndarray, correct: np.ndarray, missed: int) -> float:
    """The step-wise integral of precision over recall, each step as wide as half of what is on its two sides."""
    order = np.argsort(scores, kind="stable")
    scores, before = scores[order], np.append(0, np.cumsum(correct[order]))
    starts = np.unique(scores, return_index=True)[1]  # the first score that each threshold lets pass
    true = before[-1] - before[starts]
    passed = len(scores) - starts
    precision = np.append(true / passed, 1.0)
    recall = np.append(true / (before[-1] + missed), 0.0)
    around = np.concatenate((recall[:1], recall, [0.0]))
    return float(precision @ ((around[:-2] - around[2:]) / 2))
