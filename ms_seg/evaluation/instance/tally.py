"""What is counted of an evaluation of instances: they are kept, and scored together at the end."""

from __future__ import annotations

import json
from dataclasses import astuple

import numpy as np

from ms_seg.data.coco.instance import CocoInstance
from ms_seg.evaluation.instance.average_precision import Detection
from ms_seg.evaluation.instance.predictions import Detections
from ms_seg.evaluation.recorded import RecordedTally


class DetectionTally(RecordedTally):
    """What was found in the pictures done, each a JSON text. AP has no figure for one picture: no scores."""

    dtype = np.dtype(np.uint8)

    def __init__(self, num_pictures: int):
        super().__init__(num_pictures)
        self._bytes = 0

    @property
    def scores(self) -> np.ndarray:
        return np.full(len(self.done), np.nan)

    @property
    def text(self) -> str:
        return f"{self._bytes >> 10} KB of instances"

    def empty(self) -> DetectionTally:
        return DetectionTally(len(self.done))

    def count(self, index: int, dataset: CocoInstance, predictions: Detections) -> None:
        rows = [astuple(detection) for detection in predictions.detections(index)]
        self.add(index, np.frombuffer(json.dumps(rows).encode(), np.uint8))

    def take_in(self, index: int, record: np.ndarray) -> None:
        self._bytes += len(record)

    def found(self) -> list[list[Detection]]:
        """What was found in each picture."""
        texts = (record.tobytes() for record in self.records)
        return [
            [Detection(label, score, tuple(box), mask) for label, score, box, mask in json.loads(text or b"[]")]
            for text in texts
        ]
