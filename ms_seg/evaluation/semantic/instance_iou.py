"""Cityscapes' nIoU, in which a small thing counts as much as a large one (cityscapesScripts 2.3,
evalPixelLevelSemanticLabeling.py).

It is the IoU of classes of things with their true pixels weighted: those of each thing by the average size of its
class's things over its own size. Pixels that were taken for the class and are another's are not weighted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ms_seg.data.instance import InstanceMaps
from ms_seg.data.semantic import LabelledFolder
from ms_seg.evaluation.semantic.confusion import ConfusionMatrix, merged
from ms_seg.label_sets import LabelSet

ALL, RIGHT_CLASS, RIGHT_CATEGORY = range(3)  # columns: a class's weighted pixels, and those predicted as it, as its kin

_AVERAGE_SIZES = {
    "person": 3462.4756337644, "rider": 3930.4788056518, "car": 12794.0202738185, "truck": 27855.1264367816,
    "bus": 35732.1511111111, "train": 67583.7075812274, "motorcycle": 6298.7200839748, "bicycle": 4672.3249222261,
}  # fmt: skip


def instances_of(dataset: Any) -> InstanceMaps | None:
    """The things of a dataset whose own figures weigh classes by them, if they are there."""
    return dataset.instances if isinstance(dataset, LabelledFolder) else None


def weighted_pixels(dataset: Any, index: int, prediction: np.ndarray) -> np.ndarray:
    """The weighted pixels of one picture's things, (C, 3) float64; (0, 3) of a dataset whose classes are not weighed.

    prediction: (H, W) of class indices; what is no class is right nowhere.
    """
    instances = instances_of(dataset)
    if instances is None:
        return np.zeros((0, 3))
    labels, ids = dataset.label_set, instances.ids(index)
    sizes = np.bincount(ids.ravel())
    nothing = len(labels)
    class_of = np.full(len(sizes), nothing)
    weights = np.zeros(len(sizes))
    for number in np.flatnonzero(sizes).tolist():
        thing = instances.thing_of(number)
        if thing is not None and not thing[1]:
            name = instances.label_set.names[thing[0]]
            class_of[number], weights[number] = labels.names.index(name), _AVERAGE_SIZES[name] / sizes[number]
    truth = class_of[ids]
    of_things = truth != nothing
    ids, truth, found = ids[of_things], truth[of_things], np.minimum(prediction[of_things], nothing)
    kin = np.append(np.unique(labels.categories, return_inverse=True)[1], -1)
    pixels = np.zeros((nothing + 1, 3))
    for column, right in (
        (ALL, slice(None)),
        (RIGHT_CLASS, found == truth),
        (RIGHT_CATEGORY, kin[found] == kin[truth]),
    ):
        counts = np.bincount(ids[right], minlength=len(sizes))
        np.add.at(pixels[:, column], class_of, counts * weights)
    return pixels[:-1]


def per_class_niou(matrix: ConfusionMatrix, pixels: np.ndarray, labels: LabelSet) -> np.ndarray:
    """(C,) float64, nan for stuff and what does not occur. pixels: of all pictures together."""
    wrong = matrix.counts[:, :-1].sum(axis=0) - matrix.counts.diagonal()
    return _niou(pixels[:, RIGHT_CLASS], pixels[:, ALL], wrong, labels.isthing)


def per_category_niou(matrix: ConfusionMatrix, pixels: np.ndarray, labels: LabelSet) -> np.ndarray:
    """The same of the categories, in their order of appearance; nan for those that hold stuff."""
    groups = labels.categories or ()
    whole = merged(matrix, groups)
    names = list(dict.fromkeys(groups))
    member = np.array([[group == name for group in groups] for name in names], np.float64)
    sums = member @ pixels
    things = [all(t for t, group in zip(labels.isthing, groups, strict=True) if group == name) for name in names]
    wrong = whole.counts[:, :-1].sum(axis=0) - whole.counts.diagonal()
    return _niou(sums[:, RIGHT_CATEGORY], sums[:, ALL], wrong, things)


def _niou(right: np.ndarray, weighted: np.ndarray, wrong: np.ndarray, things: Sequence[bool]) -> np.ndarray:
    union = weighted + wrong
    occurs = np.array(things) & (union > 0)
    return np.divide(right, union, out=np.full(len(union), np.nan), where=occurs)
