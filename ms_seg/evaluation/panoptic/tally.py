"""What has been counted of panoptic maps."""

from __future__ import annotations

from typing import Self

import numpy as np

from ms_seg.data.panoptic import PanopticDataset, PanopticMap
from ms_seg.evaluation.panoptic.quality import OUTCOME, PanopticQuality, outcomes
from ms_seg.evaluation.predictions import Predictions
from ms_seg.evaluation.tally import RecordedTally
from ms_seg.label_sets import LabelSet


class PanopticTally(RecordedTally):
    """The outcome of each segment of the pictures counted (OUTCOME), and the PQ of each picture.

    qualities: (N,) float64, 0 for a picture not counted yet, nan for one with nothing to count.
    """

    dtype = OUTCOME

    def __init__(self, num_pictures: int, label_set: LabelSet):
        super().__init__(num_pictures)
        self.quality = PanopticQuality(label_set)
        self.qualities = np.zeros(num_pictures)

    @classmethod
    def of(cls, dataset: PanopticDataset) -> Self:
        """An empty one."""
        return cls(len(dataset), dataset.label_set)

    @property
    def scores(self) -> np.ndarray:
        return self.qualities

    @property
    def text(self) -> str:
        return f"PQ {self.quality.average().pq:.4f}"

    def empty(self) -> Self:
        return type(self)(len(self.done), self.quality.label_set)

    def count(self, index: int, dataset: PanopticDataset, predictions: Predictions[PanopticMap]) -> None:
        truth, prediction = dataset.panoptic(index), predictions[index]
        if prediction.ids.shape != truth.ids.shape:
            sizes = ["{1}x{0}".format(*panoptic.ids.shape) for panoptic in (prediction, truth)]
            raise ValueError(f"{predictions.source(index)} is {sizes[0]}, but the panoptic map is {sizes[1]}")
        try:
            self.add(index, outcomes(prediction, truth))
        except ValueError as error:
            raise ValueError(f"{predictions.source(index)}: {error}") from None

    def update(self, index: int, record: np.ndarray) -> None:
        self.quality.add(record)
        alone = PanopticQuality(self.quality.label_set)
        alone.add(record)
        self.qualities[index] = alone.average().pq
