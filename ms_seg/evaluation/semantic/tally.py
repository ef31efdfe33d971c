"""What is counted of an evaluation of label maps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ms_seg.data.semantic import SemanticDataset
from ms_seg.distributed import World
from ms_seg.evaluation.semantic.confusion import ConfusionMatrix, picture_iou
from ms_seg.evaluation.semantic.predictions import Predictions
from ms_seg.evaluation.tally import Tally


class SemanticTally(Tally):
    """The counts of the pictures done, and the mIoU and accuracy of each.

    pixels: (N, 2) int64, those found and those counted of each picture. ious: (N,) float64, 0 where not done, nan where
    a picture has nothing to count.
    """

    def __init__(self, num_pictures: int, num_classes: int):
        super().__init__(num_pictures)
        self.matrix = ConfusionMatrix(num_classes)
        self.pixels = np.zeros((num_pictures, 2), np.int64)
        self.ious = np.zeros(num_pictures)

    @property
    def scores(self) -> np.ndarray:
        return self.ious

    @property
    def text(self) -> str:
        return f"mIoU {self.matrix.miou:.4f}"

    def empty(self) -> SemanticTally:
        return SemanticTally(len(self.done), self.matrix.num_classes)

    def count(self, index: int, dataset: SemanticDataset, predictions: Predictions) -> None:
        truth, prediction = dataset.labels(index), predictions.label_map(index)
        if prediction.shape != truth.shape:
            sizes = ["{1}x{0}".format(*labels.shape) for labels in (prediction, truth)]
            raise ValueError(
                f"{predictions.source(index)} is {sizes[0]}, but the label map of the picture is {sizes[1]}"
            )
        counts = self.matrix.update(prediction, truth)
        self.done[index] = True
        self.pixels[index] = counts.trace(), counts.sum()
        self.ious[index] = picture_iou(counts)

    def merge(self, other: SemanticTally) -> None:
        self.matrix.counts += other.matrix.counts
        self.done |= other.done
        self.pixels += other.pixels
        self.ious += other.ious

    def over(self, world: World) -> SemanticTally:
        total = self.empty()
        total.matrix.counts = world.sum(self.matrix.counts)
        total.done = world.sum(self.done.astype(np.uint8)).astype(bool)
        total.pixels = world.sum(self.pixels)
        total.ious = world.sum(self.ious)  # one rank has each: nothing is rounded
        return total

    def arrays(self) -> dict[str, np.ndarray]:
        return {"done": self.done, "counts": self.matrix.counts, "pixels": self.pixels, "ious": self.ious}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.done, self.matrix.counts = arrays["done"], arrays["counts"]
        self.pixels, self.ious = arrays["pixels"], arrays["ious"]
