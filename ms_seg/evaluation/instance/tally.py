"""What has been counted of instances: all detections, since they are scored together at the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple
from typing import Self

import numpy as np

from ms_seg.data.instance import InstanceDataset
from ms_seg.evaluation.instance.average_precision import Detection, Precision
from ms_seg.evaluation.instance.scores import SCORES
from ms_seg.evaluation.predictions import Predictions
from ms_seg.evaluation.tally import RecordedTally


class InstanceTally(RecordedTally):
    """The detections in the pictures counted, each picture's as a JSON text. AP is no figure of one picture: there are
    no scores."""

    dtype = np.dtype(np.uint8)

    def __init__(self, num_pictures: int):
        super().__init__(num_pictures)
        self._bytes = 0
        self._scored: dict[str, Precision] | None = None

    @classmethod
    def of(cls, dataset: InstanceDataset) -> Self:
        """An empty one."""
        return cls(len(dataset))

    @property
    def scores(self) -> np.ndarray:
        return np.full(len(self.done), np.nan)

    @property
    def text(self) -> str:
        return f"{self._bytes >> 10} KB of instances"

    def empty(self) -> Self:
        return type(self)(len(self.done))

    def count(self, index: int, dataset: InstanceDataset, predictions: Predictions[Sequence[Detection]]) -> None:
        rows = [astuple(detection) for detection in predictions[index]]
        self.add(index, np.frombuffer(json.dumps(rows).encode(), np.uint8))

    def update(self, index: int, record: np.ndarray) -> None:
        self._bytes += len(record)
        self._scored = None

    def scored(self, dataset: InstanceDataset) -> dict[str, Precision]:
        """What the dataset's rule says of them, of boxes and masks; it takes minutes for all of COCO, and is kept."""
        if self._scored is None:
            self._scored = SCORES[dataset.scored_by](dataset, self.detections())
        return self._scored

    def detections(self) -> list[list[Detection]]:
        """The detections in each picture."""
        texts = (record.tobytes() for record in self.records)
        return [
            [Detection(label, score, tuple(box), mask) for label, score, box, mask in json.loads(text or b"[]")]
            for text in texts
        ]
