"""Mean intersection over union, streamed over pictures, as mmsegmentation counts it."""

from __future__ import annotations

import numpy as np


class ConfusionMatrix:
    """Counts of pixels by true and predicted class, over any number of pictures.

    Pixels whose truth is `ignore_label` are left out. A prediction of `num_classes` or more (EasyCV's 172nd output) is
    a miss of the true class and counts for no other.
    """

    def __init__(self, num_classes: int, ignore_label: int = 255):
        self.num_classes, self.ignore_label = num_classes, ignore_label
        self.counts = np.zeros((num_classes, num_classes + 1), np.int64)  # (true, predicted); the last column: no class

    def update(self, prediction: np.ndarray, truth: np.ndarray) -> None:
        """Add a picture: two integer label maps of one shape.

        Raises ValueError for maps of different shapes, and for a truth outside the classes that is not to be ignored.
        """
        if prediction.shape != truth.shape:
            raise ValueError(f"prediction {prediction.shape} and truth {truth.shape} differ in shape")
        counted = truth != self.ignore_label
        true, predicted = truth[counted].astype(np.int64), prediction[counted].astype(np.int64)
        for name, labels, limit in (("truth", true, self.num_classes), ("prediction", predicted, np.inf)):
            if labels.size and (labels.min() < 0 or labels.max() >= limit):
                span = f"{labels.min()} to {labels.max()}"
                raise ValueError(f"the {name} has labels {span}, of {self.num_classes} classes from 0")
        width = self.num_classes + 1
        pairs = true * width + np.minimum(predicted, self.num_classes)
        self.counts += np.bincount(pairs, minlength=self.counts.size).reshape(self.counts.shape)

    @property
    def per_class_iou(self) -> np.ndarray:
        """(C,) float64 of 0..1; nan for a class that is in no truth and no prediction."""
        intersection = self.counts.diagonal().astype(np.float64)
        union = self.counts.sum(axis=1) + self.counts[:, :-1].sum(axis=0) - intersection
        return np.divide(intersection, union, out=np.full(self.num_classes, np.nan), where=union > 0)

    @property
    def miou(self) -> float:
        """Mean of the classes that are in a truth or a prediction; nan when there is none."""
        known = self.per_class_iou[~np.isnan(self.per_class_iou)]
        return float(known.mean()) if known.size else float("nan")
