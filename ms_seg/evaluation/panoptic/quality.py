"""PQ, SQ and RQ, streamed over pictures, as panopticapi counts them on one core (panopticapi/evaluation.py)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ms_seg.data.panoptic import PanopticMap, renumbered
from ms_seg.label_sets import LabelSet

# The outcome of a segment: its class, and its IoU with its match, or MISSED, or FALSE_ALARM.
OUTCOME = np.dtype([("label", np.uint16), ("iou", np.float64)])
MISSED, FALSE_ALARM = 0.0, -1.0

_SEGMENT = np.dtype([("id", np.int64), ("label", np.int64), ("iscrowd", np.bool_), ("area", np.float64)])


@dataclass(frozen=True)
class Quality:
    """Means over the classes that occurred: panoptic, segmentation and recognition quality, 0..1; nan without any.

    classes: how many occurred.
    """

    pq: float
    sq: float
    rq: float
    classes: int


class PanopticQuality:
    """Matches, misses and false alarms of each class, over any number of pictures.

    ious: (C,) float64, the sum over the matches. matched, missed, false_alarms: (C,) int64.

    A class in no truth and no prediction, or only where void and crowds were, has the figures nan (panopticapi writes
    0), and the means leave it out.
    """

    def __init__(self, label_set: LabelSet):
        self.label_set = label_set
        self.ious = np.zeros(len(label_set))
        self.matched, self.missed, self.false_alarms = np.zeros((3, len(label_set)), np.int64)

    def update(self, prediction: PanopticMap, truth: PanopticMap) -> np.ndarray:
        """Add a picture. Returns the outcomes of its segments, (S,) of OUTCOME. Raises as `outcomes` does."""
        added = outcomes(prediction, truth)
        self.add(added)
        return added

    def add(self, added: np.ndarray) -> None:
        """Add outcomes (S,) of OUTCOME, in the given order, on which sums of floats depend."""
        classes = len(self.label_set)
        matches = added[added["iou"] > 0]
        np.add.at(self.ious, matches["label"], matches["iou"])
        self.matched += np.bincount(matches["label"], minlength=classes)
        self.missed += np.bincount(added["label"][added["iou"] == MISSED], minlength=classes)
        self.false_alarms += np.bincount(added["label"][added["iou"] == FALSE_ALARM], minlength=classes)

    @property
    def per_class(self) -> np.ndarray:
        """(C, 3) float64: PQ, SQ and RQ of each class."""
        figures = np.full((len(self.label_set), 3), np.nan)
        wanted = self.matched + 0.5 * self.false_alarms + 0.5 * self.missed
        met = wanted > 0
        figures[met, 0] = self.ious[met] / wanted[met]
        figures[met, 1] = self.ious[met] / np.maximum(self.matched[met], 1)
        figures[met, 2] = self.matched[met] / wanted[met]
        return figures

    def average(self, things: bool | None = None) -> Quality:
        """The means over all classes (None), over the things (True), or over the stuff (False)."""
        figures = self.per_class
        if things is not None:
            figures = figures[np.array(self.label_set.isthing) == things]
        figures = figures[~np.isnan(figures[:, 0])]
        if not len(figures):
            return Quality(np.nan, np.nan, np.nan, 0)
        # Summed one after the other, as panopticapi does: another order would change the last digit.
        pq, sq, rq = (figures.cumsum(axis=0)[-1] / len(figures)).tolist()
        return Quality(pq, sq, rq, len(figures))


def outcomes(prediction: PanopticMap, truth: PanopticMap) -> np.ndarray:
    """The outcomes of the segments of a picture, (S,) of OUTCOME: first the matches, ordered by their ids.

    A predicted and a true segment of the same class match if their IoU is above 0.5; pixels that are void in the truth
    do not count in the union, and the true segment's area is the annotation's. A crowd matches nothing and is never
    missed. A predicted segment is no false alarm if more than half of it is void or a crowd of its class (the last one
    in the annotation, if there are several).

    Raises ValueError for maps of different sizes, for an id in a map that is not among its segments, and for a
    predicted segment without a pixel.
    """
    if prediction.ids.shape != truth.ids.shape:
        shapes = f"{prediction.ids.shape} and {truth.ids.shape}"
        raise ValueError(f"prediction and truth must have one shape: {shapes} differ")
    ours, theirs = _columns(prediction), _columns(truth)
    pairs = _count_pairs(prediction, truth)
    areas, in_void, common = pairs.sum(axis=0)[1:], pairs[0, 1:], pairs[1:, 1:]
    if not areas.all():
        raise ValueError(f"segment {ours['id'][areas.argmin()]} of the prediction has no pixel")
    union = areas + theirs["area"][:, None] - common - in_void
    comparable = (theirs["label"][:, None] == ours["label"]) & ~theirs["iscrowd"][:, None] & (common > 0) & (union > 0)
    iou = np.divide(common, union, out=np.zeros(common.shape), where=comparable)
    rows, columns = np.nonzero(iou > 0.5)
    order = np.lexsort((ours["id"][columns], theirs["id"][rows]))
    rows, columns = rows[order], columns[order]

    missed = ~theirs["iscrowd"]
    missed[rows] = False
    ignored = in_void.copy()
    crowd_of = {label: row for row, label in enumerate(theirs["label"].tolist()) if theirs["iscrowd"][row]}
    for column, label in enumerate(ours["label"].tolist()):
        if label in crowd_of:
            ignored[column] += common[crowd_of[label], column]
    false = ~(ignored / areas > 0.5)
    false[columns] = False
    return np.concatenate(
        (
            _outcomes(theirs["label"][rows], iou[rows, columns]),
            _outcomes(theirs["label"][missed], MISSED),
            _outcomes(ours["label"][false], FALSE_ALARM),
        )
    )


def _count_pairs(prediction: PanopticMap, truth: PanopticMap) -> np.ndarray:
    """How many pixels each true segment (row) shares with each predicted one (column), (T + 1, P + 1) int64; void comes
    first."""
    width = len(prediction.segments) + 1
    keys = renumbered(truth.ids, [segment.id for segment in truth.segments])
    keys *= width
    keys += renumbered(prediction.ids, [segment.id for segment in prediction.segments])
    height = len(truth.segments) + 1
    return np.bincount(keys.ravel(), minlength=height * width).reshape(height, width)


def _columns(panoptic: PanopticMap) -> np.ndarray:
    rows = [(segment.id, segment.label, segment.iscrowd, segment.area) for segment in panoptic.segments]
    return np.array(rows, _SEGMENT)


def _outcomes(labels: np.ndarray, iou: np.ndarray | float) -> np.ndarray:
    rows = np.empty(len(labels), OUTCOME)
    rows["label"], rows["iou"] = labels, iou
    return rows
