"""A dataset of any task as one of label maps, to be looked at."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from ms_seg.data.numbering import IGNORED
from ms_seg.data.panoptic import NO_CLASS


class ClassMaps:
    """The class of each pixel of a dataset of segments or of things; where things overlap, of the last one."""

    def __init__(self, dataset: Any):
        self.dataset = dataset
        self.label_set, self.name, self.picture = dataset.label_set, dataset.name, dataset.picture

    def __len__(self) -> int:
        return len(self.dataset)

    def label_map(self, index: int) -> np.ndarray:
        """(H, W) uint8, IGNORED where there is nothing."""
        if hasattr(self.dataset, "panoptic"):
            classes = self.dataset.panoptic(index).classes()
            return np.where(classes == NO_CLASS, IGNORED, classes).astype(np.uint8)
        labels = np.full(self.dataset.size(index), IGNORED, np.uint8)
        for label, mask in zip(*self.dataset.targets(index), strict=True):
            labels[mask] = label
        return labels

    def first(self, count: int) -> Self:
        return type(self)(self.dataset.first(count))

    def in_words(self) -> Self:
        return self
