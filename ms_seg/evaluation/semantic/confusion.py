"""aAcc, mIoU and mAcc, streamed over pictures, as mmsegmentation 0.30 counts them (core/evaluation/metrics.py)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import cv2
import numpy as np

MAX_CLASSES = 255
# cv2.calcHist counts in float32, which is exact up to 2**24.
_MAX_PIXELS = 1 << 24


class ConfusionMatrix:
    """Counts of pixels by true and predicted class, over any number of pictures.

    Pixels whose truth is `ignore_label` are left out. A prediction of `num_classes` or more (EasyCV's 172nd output)
    misses the true class and counts for no other.

    counts: (C, C + 1) int64, (true, predicted); the last column is "no class".

    The figures are fractions, float64. A class that does not occur has the figure nan, and the means leave it out: for
    IoU it must occur in a truth or a prediction, for accuracy in a truth. The mean of no classes is nan.

    Raises ValueError for fewer than 1 or more than MAX_CLASSES classes.
    """

    def __init__(self, num_classes: int, ignore_label: int = 255):
        if not 1 <= num_classes <= MAX_CLASSES:
            raise ValueError(f"num_classes must be 1 to {MAX_CLASSES}: it is {num_classes}")
        self.num_classes, self.ignore_label = num_classes, ignore_label
        self.counts = np.zeros((num_classes, num_classes + 1), np.int64)

    def update(self, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Add a picture: two integer label maps of one shape. Returns the counts of this picture alone.

        Raises ValueError for maps of different shapes, for a truth that is neither a class nor ignored, and for a
        negative prediction.
        """
        if prediction.shape != truth.shape:
            raise ValueError(f"prediction and truth must have one shape: {prediction.shape} and {truth.shape} differ")
        pairs = _count_pairs(_to_bytes("truth", truth, 255), _to_bytes("prediction", prediction, None))
        wrong = np.flatnonzero(pairs.any(axis=1))
        wrong = wrong[(wrong >= self.num_classes) & (wrong != self.ignore_label)]
        if wrong.size:
            raise ValueError(f"the truth must hold classes 0 to {self.num_classes - 1}: it holds {wrong[-1]}")
        if 0 <= self.ignore_label < self.num_classes:
            pairs[self.ignore_label] = 0
        counts = np.empty_like(self.counts)
        counts[:, :-1] = pairs[: self.num_classes, : self.num_classes]
        counts[:, -1] = pairs[: self.num_classes, self.num_classes :].sum(axis=1)
        self.counts += counts
        return counts

    @property
    def per_class_iou(self) -> np.ndarray:
        """(C,), intersection over union."""
        intersection = self.counts.diagonal()
        union = self.counts.sum(axis=1) + self.counts[:, :-1].sum(axis=0) - intersection
        return _ratio(intersection, union)

    @property
    def per_class_accuracy(self) -> np.ndarray:
        """(C,), the share of a class's pixels that were predicted so."""
        return _ratio(self.counts.diagonal(), self.counts.sum(axis=1))

    @property
    def miou(self) -> float:
        """Mean of `per_class_iou`."""
        return mean(self.per_class_iou)

    @property
    def macc(self) -> float:
        """Mean of `per_class_accuracy`."""
        return mean(self.per_class_accuracy)

    @property
    def aacc(self) -> float:
        """The share of all counted pixels that were predicted correctly."""
        return float(_ratio(self.counts.diagonal().sum(), self.counts.sum()))


def merged(matrix: ConfusionMatrix, groups: Sequence[str]) -> ConfusionMatrix:
    """The same counts by the group that each class is in, the groups in their order of appearance.

    "No class" is left out, as cityscapesScripts leaves it out of its categories.
    """
    names = list(dict.fromkeys(groups))
    member = np.array([[group == name for group in groups] for name in names], np.int64)  # (G, C)
    whole = ConfusionMatrix(len(names))
    whole.counts[:, :-1] = member @ matrix.counts[:, :-1] @ member.T
    return whole


def picture_iou(counts: np.ndarray) -> float:
    """The mean IoU of one picture, from the counts that `ConfusionMatrix.update` returned."""
    alone = ConfusionMatrix(len(counts))
    alone.counts = counts
    return alone.miou


def _count_pairs(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Two label maps of one shape, uint8 -> how often each pair of values occurs, (256, 256) int64.

    One core, 150 classes, 512x683, megapixels a second: 900 like this (720 with all that `update` does around it), 580
    for bincount of `truth * 256 + prediction` in uint16, 490 for bincount of the bytes interleaved and seen as uint16.
    """
    truth, prediction = truth.reshape(-1, 1), prediction.reshape(-1, 1)
    pairs = np.zeros((256, 256), np.int64)
    for start in range(0, len(truth), _MAX_PIXELS):
        piece = slice(start, start + _MAX_PIXELS)
        images = [np.ascontiguousarray(labels[piece]) for labels in (truth, prediction)]
        pairs += cv2.calcHist(images, [0, 1], None, [256, 256], [0, 256, 0, 256]).astype(np.int64)
    return pairs


def _to_bytes(name: str, labels: np.ndarray, highest: int | None) -> np.ndarray:
    """Integer labels as uint8, clipped at 255. Raises ValueError for labels outside 0..highest."""
    if labels.dtype == np.uint8 or not labels.size:
        return labels.astype(np.uint8, copy=False)
    if labels.dtype.kind not in "bui":
        raise ValueError(f"the {name} must hold integers: it is {labels.dtype}")
    low, high = labels.min(), labels.max()
    if low < 0 or (highest is not None and high > highest):
        raise ValueError(f"the {name} must hold labels 0 to {highest or 'the last class'}: it holds {low} to {high}")
    return (labels if high <= 255 else np.minimum(labels, 255)).astype(np.uint8)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)


def mean(figures: np.ndarray) -> float:
    """Of those that are not nan, as mmsegmentation computes it: another order would change the last digit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a mean of nothing, which is nan
        return float(np.nanmean(figures))
