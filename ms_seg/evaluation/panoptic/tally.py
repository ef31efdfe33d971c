"""What is counted of an evaluation of panoptic maps."""

from __future__ import annotations

import numpy as np

from ms_seg.data.panoptic import PanopticDataset
from ms_seg.evaluation.panoptic.predictions import PanopticPredictions
from ms_seg.evaluation.panoptic.quality import OUTCOME, PanopticQuality, outcomes
from ms_seg.evaluation.recorded import RecordedTally
from ms_seg.label_sets import LabelSet


class PanopticTally(RecordedTally):
    """What became of the segments of the pictures done (OUTCOME), and the PQ of each picture.

    qualities: (N,) float64, 0 where not done, nan where a picture has nothing to count.
    """

    dtype = OUTCOME

    def __init__(self, num_pictures: int, label_set: LabelSet):
        super().__init__(num_pictures)
        self.quality = PanopticQuality(label_set)
        self.qualities = np.zeros(num_pictures)

    @property
    def scores(self) -> np.ndarray:
        return self.qualities

    @property
    def text(self) -> str:
        return f"PQ {self.quality.over().pq:.4f}"

    def empty(self) -> PanopticTally:
        return PanopticTally(len(self.done), self.quality.label_set)

    def count(self, index: int, dataset: PanopticDataset, predictions: PanopticPredictions) -> None:
        truth, prediction = dataset.panoptic(index), predictions.panoptic(index)
        if prediction.ids.shape != truth.ids.shape:
            sizes = ["{1}x{0}".format(*panoptic.ids.shape) for panoptic in (prediction, truth)]
            raise ValueError(f"{predictions.source(index)} is {sizes[0]}, but the panoptic map is {sizes[1]}")
        try:
            self.add(index, outcomes(prediction, truth))
        except ValueError as error:
            raise ValueError(f"{predictions.source(index)}: {error}") from None

    def take_in(self, index: int, record: np.ndarray) -> None:
        self.quality.add(record)
        alone = PanopticQuality(self.quality.label_set)
        alone.add(record)
        self.qualities[index] = alone.over().pq
