"""What has been counted of label maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np

from ms_seg.data.semantic import SemanticDataset
from ms_seg.distributed import World
from ms_seg.evaluation.predictions import Predictions
from ms_seg.evaluation.semantic.confusion import ConfusionMatrix, picture_iou
from ms_seg.evaluation.semantic.instance_iou import instances_of, weighted_pixels
from ms_seg.evaluation.tally import Tally


class SemanticTally(Tally):
    """The confusion matrix of the pictures counted, and the mIoU and accuracy of each.

    pixels: (N, 2) int64, those that are correct and those that were counted in each picture. ious: (N,) float64, 0 for
    a picture not counted yet, nan for one with nothing to count. weighted: (N, C, 3) float64, see `weighted_pixels`,
    or (N, 0, 3).
    """

    def __init__(self, num_pictures: int, num_classes: int, with_instances: bool = False):
        super().__init__(num_pictures)
        self.matrix = ConfusionMatrix(num_classes)
        self.pixels = np.zeros((num_pictures, 2), np.int64)
        self.ious = np.zeros(num_pictures)
        self.weighted = np.zeros((num_pictures, num_classes if with_instances else 0, 3))

    @classmethod
    def of(cls, dataset: SemanticDataset) -> Self:
        """An empty one."""
        return cls(len(dataset), len(dataset.label_set), instances_of(dataset) is not None)

    @property
    def scores(self) -> np.ndarray:
        return self.ious

    @property
    def text(self) -> str:
        return f"mIoU {self.matrix.miou:.4f}"

    def empty(self) -> Self:
        return type(self)(len(self.done), self.matrix.num_classes, bool(self.weighted.shape[1]))

    def count(self, index: int, dataset: SemanticDataset, predictions: Predictions[np.ndarray]) -> None:
        truth, prediction = dataset.label_map(index), predictions[index]
        if prediction.shape != truth.shape:
            sizes = ["{1}x{0}".format(*label_map.shape) for label_map in (prediction, truth)]
            raise ValueError(
                f"{predictions.source(index)} is {sizes[0]}, but the label map of the picture is {sizes[1]}"
            )
        counts = self.matrix.update(prediction, truth)
        self.done[index] = True
        self.pixels[index] = counts.trace(), counts.sum()
        self.ious[index] = picture_iou(counts)
        self.weighted[index] = weighted_pixels(dataset, index, prediction)

    def merge(self, other: Self) -> None:
        self.matrix.counts += other.matrix.counts
        self.done |= other.done
        self.pixels += other.pixels
        self.ious += other.ious
        self.weighted += other.weighted

    def all_reduce(self, world: World) -> Self:
        total = self.empty()
        total.matrix.counts = world.sum(self.matrix.counts)
        total.done = world.sum(self.done.astype(np.uint8)).astype(bool)
        total.pixels = world.sum(self.pixels)
        total.ious = world.sum(self.ious)  # each is on one rank alone: nothing is rounded
        total.weighted = world.sum(self.weighted)
        return total

    def arrays(self) -> dict[str, np.ndarray]:
        return {
            "done": self.done, "counts": self.matrix.counts, "pixels": self.pixels, "ious": self.ious,
            "weighted": self.weighted,
        }  # fmt: skip

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.done, self.matrix.counts = arrays["done"], arrays["counts"]
        self.pixels, self.ious, self.weighted = arrays["pixels"], arrays["ious"], arrays["weighted"]
