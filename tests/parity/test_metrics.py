"""aAcc, mIoU and mAcc against mmsegmentation's own, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import references

from ms_seg.evaluation.semantic.confusion import ConfusionMatrix


def mmseg_figures(predictions: list[np.ndarray], truths: list[np.ndarray], num_classes: int) -> dict:
    references.import_mmseg()
    from mmseg.core.evaluation.metrics import eval_metrics

    return eval_metrics(predictions, [truth.copy() for truth in truths], num_classes, ignore_index=255)


def drawn_maps(num_classes: int, outputs: int, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Pictures of different sizes in which the last classes never are, and some occur only as predictions."""
    rng = np.random.default_rng(seed)
    predictions, truths = [], []
    for _ in range(7):
        size = tuple(rng.integers(30, 300, 2))
        truth = (num_classes * 0.8 * rng.random(size) ** 3).astype(np.uint8)
        guess = rng.integers(0, outputs, size).astype(np.uint8)
        predictions.append(np.where(rng.random(size) < 0.6, truth, guess))
        truths.append(np.where(rng.random(size) < 0.1, 255, truth).astype(np.uint8))
    return predictions, truths


@pytest.mark.parametrize(("num_classes", "outputs"), [(150, 150), (150, 140), (171, 172), (19, 19), (2, 3)])
def test_figures_equal_mmsegmentations(num_classes, outputs):
    predictions, truths = drawn_maps(num_classes, outputs, seed=num_classes + outputs)
    matrix = ConfusionMatrix(num_classes)
    for prediction, truth in zip(predictions, truths, strict=True):
        matrix.update(prediction, truth)
    theirs = mmseg_figures(predictions, truths, num_classes)
    assert np.array_equal(matrix.per_class_iou, theirs["IoU"], equal_nan=True)
    assert np.array_equal(matrix.per_class_accuracy, theirs["Acc"], equal_nan=True)
    means = (float(theirs["aAcc"]), float(np.nanmean(theirs["IoU"])), float(np.nanmean(theirs["Acc"])))
    assert (matrix.aacc, matrix.miou, matrix.macc) == means  # CustomDataset.evaluate takes the mean so


def test_the_stored_figures_are_mmsegmentations():
    from tests.evaluation.semantic.test_confusion import STORED

    pixels = np.arange(40_000)
    truth = (pixels * pixels // 7 % 131).reshape(200, 200)
    prediction = np.where(pixels % 3, pixels * pixels // 7 % 131, pixels // 11 % 150).reshape(200, 200)
    theirs = mmseg_figures([prediction], [np.where(truth == 5, 255, truth)], 150)
    figures = (theirs["aAcc"], np.nanmean(theirs["IoU"]), np.nanmean(theirs["Acc"]))
    assert [float(figure).hex() for figure in figures] == STORED
